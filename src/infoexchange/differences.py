"""Differences: what changes from one directory version to the next, in sentences (SPEC section Directory).

A holder of a root key signs what these sentences say, so nothing may be missing: every field of a listing is visited
because it is a field, and one without words of its own is told in plain ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from infoexchange import certificates, suites
from infoexchange.catalogue import Domain
from infoexchange.listing import Group, Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.tlog import VerifierKey


@dataclass(frozen=True)
class Difference:
    """One thing that is not as before.

    Attributes:
        path: Where it stands, for example `agencies[desk.oncb.th.example].domains`.
        sentence: The same for a person.
        before: What stood there, in values that JSON has; nothing where there was none.
        after: What stands there now.
    """

    path: str
    sentence: str
    before: Any
    after: Any


def compare(old: Listing | None, new: Listing) -> tuple[Difference, ...]:
    """Return every difference between two listings, none if and only if their payloads are the same.

    Without an older one everything is new, and so all of a first version is told.
    """
    found = list(_listing(old or _NOTHING, new))
    if old and not found and old.payload != new.payload:
        found.append(Difference("", "Something changes for which this program has no words: do not sign.", None, None))
    return tuple(found)


_NOTHING: Any = Listing(
    community="",
    version=0,
    issued_at=None,  # type: ignore[arg-type]  # nothing was said before the first version
    expires_at=None,  # type: ignore[arg-type]  # likewise
    roots=Roots(0, ()),
    nations=(),
    parties=(),
    suites=(),
)


# Words


def _listing(old: Listing, new: Listing) -> Iterator[Difference]:
    for field in dataclasses.fields(Listing):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if field.name == "roots":
            yield from _roots(a, b)
        elif field.name == "nations":
            yield from _things("nation", "nations", _by(a, "code"), _by(b, "code"))
        elif field.name == "parties":
            for role, where in ((Role.RELAY, "relays"), (Role.AGENCY, "agencies")):
                both = [_by([p for p in parties if p.role is role], "name") for parties in (a, b)]
                yield from _things(role.value, where, *both)
        elif field.name == "groups":
            yield from _things("working group", "groups", _by(a, "name"), _by(b, "name"))
        else:
            yield from _field("", "The directory", field.name, a, b)


def _by(things: Sequence[Any], key: str) -> dict[str, Any]:
    return {getattr(thing, key): thing for thing in things}


def _things(kind: str, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield what came, what went and what changed among things with a name."""
    for name in sorted(old.keys() | new.keys()):
        path, subject = f"{where}[{name}]", f"{kind[0].upper()}{kind[1:]} {name}"
        if name not in new:
            yield Difference(path, f"{subject} is removed.", _plain(old[name]), None)
            continue
        before = old.get(name)
        if before is None:
            yield Difference(path, f"New {kind}: {name}.", None, _plain(new[name]))
            before = _blank(new[name])
        for field in dataclasses.fields(new[name]):
            yield from _field(path, subject, field.name, getattr(before, field.name), getattr(new[name], field.name))


def _blank(thing: Any) -> Any:
    """Return a thing of the same name about which nothing is said yet, so that all of a new one is told."""
    if isinstance(thing, Nation):
        return Nation(code=thing.code, suffix="", member_from=None)  # type: ignore[arg-type]  # not said yet
    if isinstance(thing, Group):
        return Group(name=thing.name, members=(), valid_from=None)  # type: ignore[arg-type]  # not said yet
    own = thing.name if thing.role is Role.RELAY else ""  # a relay is its own relay: nothing to tell
    return Party(name=thing.name, nation="", role=thing.role, relay=own)


def _field(path: str, subject: str, name: str, before: Any, after: Any) -> Iterator[Difference]:
    if before == after:
        return
    place = f"{path}.{name}" if path else name
    if isinstance(after, tuple):
        words = _SETS.get(name, (f"{name}: {{}} is added", f"{name}: {{}} is taken away", str))
        sentences = list(_set_sentences(subject, words, before, after))
    else:
        sentences = [f"{subject} {_phrase(name, before, after)}."]
    yield from (Difference(place, sentence, _plain(before), _plain(after)) for sentence in sentences)


def _phrase(name: str, before: Any, after: Any) -> str:
    """Return what is said of a subject of which one value changed."""
    said, unsaid = _PHRASES.get(name, (f"has another {name}: {{}}", f"has no {name} any more"))
    phrase = unsaid if _is_empty(after) else said.format(_shown(after))
    return phrase if _is_empty(before) else f"{phrase} (before: {_shown(before)})"


# For values: what is said of the subject, and what where nothing stands any more.
_PHRASES = {
    "community": ("belongs to the community {}", "belongs to no community"),
    "version": ("becomes version {}", "has no version"),
    "issued_at": ("is issued at {}", "is never issued"),
    "expires_at": ("is valid until {}", "is never valid"),
    "previous": ("follows the version with digest {}", "follows no version"),
    "witness_policy": ("says who must witness the logs: {}", "leaves who must witness the logs to the usual rule"),
    "suffix": ("has names below {}", "has no names"),
    "member_from": ("takes part from {}", "takes part from the first day of its nation"),
    "member_to": ("takes part until {}", "takes part without an end"),
    "valid_from": ("exists from {}", "exists from the first day"),
    "valid_to": ("exists until {}", "exists without an end"),
    "nation": ("belongs to nation {}", "belongs to no nation"),
    "relay": ("has its mailbox at {}", "has no mailbox"),
    "title": ("is called {}", "has no title"),
    "address": ("is reached at {}", "has no address"),
}

# For lists: what is said of one that comes, of one that goes, and how one is shown.
_SETS: dict[str, tuple[str, str, Callable[[Any], str]]] = {
    "identity_cas": (
        "has a new CA for identity certificates: {}",
        "loses a CA for identity certificates: {}",
        lambda der: ca_words(der),
    ),
    "tls_cas": (
        "has a new CA for TLS certificates: {}",
        "loses a CA for TLS certificates: {}",
        lambda der: ca_words(der),
    ),
    "treaties": ("is party to {}", "is no longer party to {}", str),
    "log_keys": ("has a new key of its audit log: {}", "loses a key of its audit log: {}", lambda text: _key(text)),
    "witness_keys": ("has a new witness key: {}", "loses a witness key: {}", lambda text: _key(text)),
    "members": ("has a new member: {}", "loses a member: {}", str),
    "suites": (
        "accepts suite {} from now on",
        "accepts suite {} no longer",
        lambda number: suite_words(number),
    ),
    "domains": ("", "", lambda number: domain_word(number)),
}


def _set_sentences(
    subject: str, words: tuple[str, str, Callable[[Any], str]], before: Sequence[Any], after: Sequence[Any]
) -> Iterator[str]:
    comes, goes, shown = words
    if not comes:
        # Read together: a permission is what the whole list says.
        lists = [", ".join(map(shown, values)) or "nothing" for values in (after, before)]
        yield f"{subject} may now exchange: {lists[0]} (before: {lists[1]})."
        return
    yield from (f"{subject} {comes.format(shown(item))}." for item in after if item not in before)
    yield from (f"{subject} {goes.format(shown(item))}." for item in before if item not in after)
    if set(before) == set(after):
        yield f"{subject} has the same list in another order: {', '.join(map(shown, after))}."


def _roots(old: Roots, new: Roots) -> Iterator[Difference]:
    if (old.threshold, len(old.keys)) != (new.threshold, len(new.keys)):
        both = [f"{roots.threshold} of {len(roots.keys)}" for roots in (old, new)]
        sentence = f"{both[1]} root signatures are needed from now on (before: {both[0]})."
        yield Difference("roots.threshold", sentence, *both)
    before, after = _by(old.keys, "holder"), _by(new.keys, "holder")
    for holder in sorted(before.keys() | after.keys()):
        a, b = before.get(holder), after.get(holder)
        if a == b:
            continue
        if a is None:
            sentence = f"New root key, of {holder}: {_root(b)}."
        elif b is None:
            sentence = f"Root key of {holder} is removed: {_root(a)}."
        else:
            sentence = f"Root key of {holder} is replaced: now {_root(b)} (before: {_root(a)})."
        yield Difference(f"roots.keys[{holder}]", sentence, a and _plain(a), b and _plain(b))


# Values


def fingerprint(raw: bytes) -> str:
    """Return the SHA-256 of a certificate or key in hexadecimal, in full: it is read out and compared."""
    return sha256(raw).hexdigest()


def domain_word(number: int) -> str:
    """Return the word of a domain's number as drafts write it; the number itself where the catalogue has no word."""
    known: dict[int, str] = {n: name.removeprefix("DOMAIN_").lower() for name, n in Domain.items()}
    return known.get(number, str(number))


def moment(at: datetime) -> str:
    """Return a time to the day where it is midnight in UTC, and else in full: two that differ must look different."""
    if at == at.replace(hour=0, minute=0, second=0, microsecond=0):
        return f"{at:%Y-%m-%d}"
    text = at.isoformat(" ", "milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def suite_words(number: int) -> str:
    """Return the number of a suite, and its name where this program knows it."""
    known = f" ({suites.SUITES[number].name})" if number in suites.SUITES else ""
    return f"0x{number:04x}{known}"


def _root(key: RootKey | None) -> str:
    assert key
    return f"SHA-256 {fingerprint(key.public)}, suite {suite_words(key.suite)}"


def ca_words(der: bytes) -> str:
    """Return whose CA certificate it is, until when, and its fingerprint."""
    certificate = certificates.load(der)
    return (
        f"{certificate.subject.rfc4514_string()}, until {certificate.not_valid_after_utc:%Y-%m-%d},"
        f" SHA-256 {fingerprint(der)}"
    )


def _key(text: str) -> str:
    key = VerifierKey.parse(text)
    return f"{key.name}, type 0x{key.type:02x}, SHA-256 {fingerprint(key.public)}"


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", b"", 0)


def _shown(value: Any) -> str:
    """Return a value in a sentence."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bytes):
        return value.hex()
    return " / ".join(str(value).splitlines())


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; certificates and keys as their fingerprints."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Role):
        return value.value
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 32 else f"SHA-256 {fingerprint(value)}"
    return value
