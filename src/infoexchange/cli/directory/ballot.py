"""Ballot: who has signed a directory version so far, by the root keys before it and by its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import Table

if TYPE_CHECKING:
    from infoexchange.dsse import Dsse
    from infoexchange.listing import RootKey, Roots


_BEFORE, _OWN, _ALL = "Root keys in force before", "Its own root keys", "Root keys"


@dataclass(frozen=True)
class Side:
    """The root keys of one version, and those of them that signed, each with the place of its signature."""

    title: str
    roots: Roots
    signed: dict[RootKey, int]

    @property
    def is_enough(self) -> bool:
        """Whether as many signed as must."""
        return len(self.signed) >= self.roots.threshold

    @property
    def holders(self) -> list[str]:
        """Those who signed."""
        return sorted(key.holder for key in self.signed)

    @property
    def missing(self) -> list[str]:
        """Those who have not signed."""
        return sorted(key.holder for key in self.roots.keys if key not in self.signed)

    @property
    def sentence(self) -> str:
        """How many of how many signed, and who is missing, for a person."""
        text = f"{self.title}: {len(self.signed)} of {self.roots.threshold} needed signatures"
        if self.is_enough:
            return f"{text}. Enough."
        return f"{text}; {self.roots.threshold - len(self.signed)} more of: {', '.join(self.missing)}."


class Ballot:
    """The signatures on one version, judged by the roots before it, if it has any, and by its own.

    It is a help for those who gather signatures; whether a version may be used, `Directory` decides.
    """

    def __init__(self, dsse: Dsse, own: Roots, before: Roots | None) -> None:
        """Verify every signature; `before` are the roots that must sign too, where they may be others."""
        self._dsse = dsse
        self.sides = [Side(_BEFORE, before, before.signed_by(dsse))] if before and before != own else []
        self.sides.append(Side(_OWN if self.sides else _ALL, own, own.signed_by(dsse)))

    @property
    def is_enough(self) -> bool:
        """Whether enough keys signed on every side."""
        return all(side.is_enough for side in self.sides)

    @property
    def counted(self) -> list[int]:
        """Places of the signatures that count, one for each key."""
        return sorted({place for side in self.sides for place in side.signed.values()})

    def strangers(self) -> list[str]:
        """Return the key ids, as their signatures claim them, of those that are by none of these keys."""
        places = set(range(len(self._dsse.signatures))) - set(self.counted)
        known = {place for place in places for side in self.sides if side.roots.signer_of(self._dsse, place)}
        return [self._dsse.key_ids[place] or "without a key id" for place in sorted(places - known)]

    def keys(self) -> list[RootKey]:
        """Return every root key of either side, by holder."""
        found = {key: None for side in self.sides for key in side.roots.keys}
        return sorted(found, key=lambda key: (key.holder, key.public))

    def data(self) -> dict[str, Any]:
        """Return the same as JSON shows it."""
        return {
            "signatures": len(self.sides[-1].signed),
            "needed": self.sides[-1].roots.threshold,
            "enough": self.is_enough,
            "sides": [
                {
                    "roots": _WHEN[side.title],
                    "signed": side.holders,
                    "missing": side.missing,
                    "needed": side.roots.threshold,
                    "enough": side.is_enough,
                }
                for side in self.sides
            ],
            "unknown_signatures": self.strangers(),
        }

    def parts(self) -> list[str | Table]:
        """Return the same for a person."""
        from infoexchange.differences import fingerprint

        rows = []
        for key in self.keys():
            signed = any(key in side.signed for side in self.sides)
            places = " and ".join(_WHEN[side.title] for side in self.sides if key in side.roots.keys)
            rows.append(("signed" if signed else "not signed", key.holder, places, fingerprint(key.public)))
        strangers = self.strangers()
        return [
            Table(("", "holder", "root key", "SHA-256 of the key"), rows),
            *(side.sentence for side in self.sides),
            *([f"Passed over: signatures that none of these keys made ({', '.join(strangers)})."] if strangers else []),
        ]


_WHEN = {_BEFORE: "before", _OWN: "from now on", _ALL: "before and from now on"}
