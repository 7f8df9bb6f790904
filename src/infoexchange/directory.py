"""Directory: who takes part, signed by m of n root keys (SPEC section Directory).

It is an agency's only configuration: nations and their CAs, relays, agencies, groups, permitted domains, suites and the
witness policy stand in one signed file with a version, an expiry and no way back. Nobody can change it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import Reason, error
from infoexchange.keys import SigningKey
from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing, Nation, Party, Role, Roots


class Directory:
    """A directory whose signatures have been verified."""

    def __init__(self, listing: Listing, dsse: Dsse, signers: tuple[str, ...]) -> None:
        """Hold verified content; use `parse` or `succeed` to get one."""
        self.listing = listing
        self.signers = signers
        self._dsse = dsse
        self._parties = {p.name: p for p in listing.parties}
        self._nations = {n.code: n for n in listing.nations}

    @classmethod
    def parse(cls, raw: bytes, *, roots: Roots) -> Directory:
        """Return the directory, once enough of `roots` and of its own roots have signed it.

        Spec: section Directory, steps 1 to 3. Whether it is current is asked with `check_current`, because auditors
        judge the past with old directories.

        Raises:
            MalformedError: The bytes do not follow the format.
            UntrustedError: `BAD_SIGNATURE`.
        """
        # (1) canonical container of the right type
        dsse = Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
        # (2) signatures of the trust anchor, before the payload is read
        roots.check_signed(dsse)
        # (3) the payload, and its own roots: a successor that nobody could follow is refused now, not later
        listing = Listing.parse(dsse.payload)
        return cls(listing, dsse, listing.roots.check_signed(dsse))

    @classmethod
    def held(cls, raw: bytes) -> Directory:
        """Return a version from a place that is trusted itself, such as the own log: its own roots stand for it.

        Raises:
            UntrustedError: `BAD_SIGNATURE`: a version that its own roots did not sign is nothing to follow.
        """
        dsse = Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
        return cls.parse(raw, roots=Listing.parse(dsse.payload).roots)

    @classmethod
    def resume(cls, logged: Sequence[bytes], raw: bytes, *, roots: Roots) -> Directory:
        """Return the version that a relay starts with: the last of those in its own log, or `raw` if that follows it.

        An older version in `raw` that was in force here before changes nothing: newer ones came by other ways.

        Args:
            logged: Every version that the relay's log holds, ascending.
            raw: What the operator has put in place.
            roots: Trust anchor, for a log that holds none.

        Raises:
            UntrustedError: As `succeed`, or as `parse` where nothing was logged yet.
        """
        if not logged:
            return cls.parse(raw, roots=roots)
        last = cls.held(logged[-1])
        if _digest(raw) in map(_digest, logged):
            return last
        return last.succeed(raw)

    def succeed(self, raw: bytes) -> Directory:
        """Return the next version, signed by enough of this version's roots and following it directly.

        Spec: section Directory, steps 4 and 5. The same version again is no change.

        Raises:
            UntrustedError: `BAD_SIGNATURE`, or as `check_next`.
        """
        if raw == self.raw:
            return self  # these very bytes have been verified
        newer = Directory.parse(raw, roots=self.listing.roots)
        if newer.digest == self.digest:
            return self
        self.check_next(newer.listing)
        return newer

    def check_next(self, listing: Listing) -> None:
        """Return if a content may follow this version, whoever has signed it so far.

        Raises:
            UntrustedError: `DIRECTORY_ROLLBACK` when it belongs elsewhere; `LOG_FORK` when it is another history of the
                same community: a second version of this number, or one that follows a second one.
        """
        # (4) the same community, and the next number: versions are taken one after the other
        if listing.community != self.listing.community:
            raise error(Reason.DIRECTORY_ROLLBACK, field="community", detail="another community's directory")
        if listing.version not in (self.version, self.version + 1):
            raise error(
                Reason.DIRECTORY_ROLLBACK,
                field="version",
                detail=f"version {listing.version} does not follow version {self.version}, the last one used here",
                next_step=f"Take version {self.version + 1} first; versions are taken one after the other."
                if listing.version > self.version
                else "",
            )
        # (5) one history: it names this very version as the one before
        if listing.version == self.version or listing.previous != self.digest:
            raise error(
                Reason.LOG_FORK,
                field="version" if listing.version == self.version else "previous",
                detail=f"there are two versions {self.version}; the one used here is {self.digest.hex()[:16]}",
                next_step="Keep both files as evidence and tell every party: whoever signed both must explain it.",
            )

    def advance(self, raws: Iterable[bytes]) -> Directory:
        """Return the last of some versions, each having been found to follow the one before; raises as `succeed`."""
        directory = self
        for raw in raws:
            directory = directory.succeed(raw)
        return directory

    def check_follows(self, last_raw: bytes) -> None:
        """Raise as `succeed` unless this is the version in `last_raw`, or the next one, signed by enough of its roots.

        Meant for a relay at its start: `last_raw` stands in its own log, which it trusts more than any file beside it.
        """
        last = Directory.held(last_raw)
        if last.digest != self.digest:
            last.succeed(self.raw)

    @staticmethod
    def sign(payload: bytes, signers: Sequence[SigningKey]) -> bytes:
        """Return container bytes with one signature per key; each party may do this on its own machine."""
        Listing.parse(payload)
        signatures = [(s.sign(TYPE_DIRECTORY, payload), s.key_id) for s in signers]
        return Dsse.make(TYPE_DIRECTORY, payload, signatures).raw

    @staticmethod
    def merge(raws: Sequence[bytes]) -> bytes:
        """Return one container with the signatures of several over the same payload.

        Raises:
            MalformedError: `BAD_FIELD` when the payloads differ.
        """
        parts = [Dsse.parse(r, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX) for r in raws]
        if not parts or any(p.payload != parts[0].payload for p in parts):
            raise error(Reason.BAD_FIELD, field="directory", detail="the files sign different contents")
        pairs = {(k, s) for p in parts for s, k in zip(p.signatures, p.key_ids, strict=True)}
        return Dsse.make(TYPE_DIRECTORY, parts[0].payload, [(s, k) for k, s in sorted(pairs)]).raw

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self._dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes."""
        return self._dsse.digest

    @property
    def version(self) -> int:
        """Version number."""
        return self.listing.version

    def knows(self, digest: bytes) -> bool:
        """Whether a digest names this version or the one before, as a log entry does that is just as old.

        Another one is unknown here: a newer version that somebody keeps back, an older one, or one that never was.
        """
        return bool(digest) and digest in (self.digest, self.listing.previous)

    def check_current(self, now: datetime) -> None:
        """Raise `DIRECTORY_EXPIRED` unless `now` lies before the expiry."""
        if now >= self.listing.expires_at:
            raise error(
                Reason.DIRECTORY_EXPIRED, field="directory", detail=f"expired on {self.listing.expires_at:%Y-%m-%d}"
            )

    def party(self, name: str, *, at: datetime) -> Party:
        """Return the party that took part under that name at that time, or raise `UNKNOWN_PARTY`."""
        party = self._parties.get(name)
        if party is None:
            raise error(
                Reason.UNKNOWN_PARTY, field="party", detail=f"{name[:253]!r} is not in directory {self.version}"
            )
        if not self._takes_part(name, at):
            raise error(Reason.UNKNOWN_PARTY, field="party", detail=f"{name} took no part at that time")
        return party

    def _takes_part(self, name: str, at: datetime) -> bool:
        party = self._parties[name]
        nation = self._nations[party.nation]
        return _within(at, nation.member_from, nation.member_to) and _within(at, party.member_from, party.member_to)

    def listed(self, name: str) -> Party | None:
        """Return the party under a name, whether or not it takes part now: what concerns it must still be ended."""
        return self._parties.get(name)

    def nation(self, code: str) -> Nation:
        """Return the nation of a party of this directory."""
        return self._nations[code]

    def relay_of(self, party: Party) -> Party:
        """Return the relay that holds a party's mailbox."""
        return self._parties[party.relay]

    def relays(self) -> tuple[Party, ...]:
        """Return every relay."""
        return tuple(p for p in self.listing.parties if p.role is Role.RELAY)

    def permits(self, party: Party, domain: int) -> bool:
        """Whether a party may send and receive in a domain."""
        return domain in party.domains

    def members(self, group: str, *, at: datetime) -> tuple[str, ...]:
        """Return the agencies of a working group at that time, or raise `UNKNOWN_PARTY`."""
        for g in self.listing.groups:
            if g.name == group and _within(at, g.valid_from, g.valid_to):
                return tuple(name for name in g.members if self._takes_part(name, at))
        raise error(Reason.UNKNOWN_PARTY, field="group", detail=f"no group {group!r} at that time")


def _digest(raw: bytes) -> bytes:
    return Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX).digest


def _within(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= at) and (end is None or at <= end)
