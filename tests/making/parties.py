"""Parties: directories, and what may follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from infoexchange.dsse import TYPE_DIRECTORY, TYPE_KEYBUNDLE, Dsse
from infoexchange.keys import SigningKey
from infoexchange.listing import Listing, RootKey, Roots
from infoexchange.suites import HYBRID_KEM
from infoexchange.v1 import directory_pb2, envelope_pb2
from making.case import Case, at, changed, clear, put, within
from making.world import NOW, Makers, Worlds

DAY = timedelta(days=1)


def signed(payload: bytes, *keys: SigningKey) -> bytes:
    """Return a directory's container."""
    return Dsse.make(TYPE_DIRECTORY, payload, [(key.sign(TYPE_DIRECTORY, payload), key.key_id) for key in keys]).raw


def directories(makers: Makers) -> Iterator[Case]:
    """Yield directories under the trust anchor, and what may follow them."""
    community = makers.community
    roots, keys, directory = community.roots.raw, community.root_keys, community.directory
    payload = directory.listing.payload
    stranger = SigningKey.make(HYBRID_KEM)

    def case(name: str, expect: str, step: int, comment: str, raw: bytes, now: datetime = NOW) -> Case:
        blocks = (roots, raw)
        return Case(f"directory-{name}", "directory.verify", expect, blocks, comment, f"Directory {step}", (at(now),))

    yield case("ok-two", "ok", 3, "two of three root keys", directory.raw)
    yield case("ok-three", "ok", 3, "all three root keys", signed(payload, *keys))
    yield case(
        "ok-stranger", "ok", 3, "a stranger's signature beside two of three", signed(payload, stranger, *keys[:2])
    )
    yield case("unknown-field", "not_canonical", 1, "an unknown field", directory.raw + b"\x7a\x01x")
    yield case("cut", "malformed", 1, "the last byte is missing", directory.raw[:-1])
    yield case("large", "too_large", 1, "over 4 MiB", bytes(4 * 1024 * 1024 + 1))
    kind = changed(envelope_pb2.Dsse, directory.raw, put(payload_type=TYPE_KEYBUNDLE))
    yield case("type", "bad_field", 1, "the type of a key bundle", kind)
    bad = "bad_signature"
    yield case("one", bad, 2, "one of three root keys", signed(payload, keys[0]))
    yield case("one-twice", bad, 2, "one root key, twice", signed(payload, keys[0], keys[0]))
    yield case(
        "strangers", bad, 2, "keys that are no root keys", signed(payload, stranger, SigningKey.make(HYBRID_KEM))
    )
    pairs = [(key.sign(TYPE_KEYBUNDLE, payload), key.key_id) for key in keys]
    yield case(
        "signed-as-another", bad, 2, "signatures over another type", Dsse.make(TYPE_DIRECTORY, payload, pairs).raw
    )
    flipped = changed(
        envelope_pb2.Dsse, directory.raw, lambda d: setattr(d, "payload", d.payload[:-1] + bytes([d.payload[-1] ^ 1]))
    )
    yield case("flipped", bad, 2, "one bit of the payload", flipped)
    yield case("signed-junk", "malformed", 3, "no directory, signed by enough", signed(b"junk", *keys))
    others = Roots(
        2, tuple(RootKey(SigningKey.make(HYBRID_KEM).public, f"other {n}", HYBRID_KEM.number) for n in range(2))
    )
    yield case(
        "no-successor",
        bad,
        3,
        "root keys of its own that did not sign",
        signed(replace(directory.listing, roots=others).payload, *keys),
    )
    end = directory.listing.expires_at
    expired = case("expired", "directory_expired", 3, "at its end", directory.raw, end)
    yield replace(expired, step="")  # a rule of its own: section Directory, Currency
    yield case("ok-last", "ok", 3, "a second before its end", directory.raw, end - timedelta(seconds=1))
    for name, expect, change in _listing_changes():
        raw = signed(changed(directory_pb2.Directory, payload, change), *keys)
        yield case(f"listing-{name}", expect, 3, "a payload that does not hold, signed by enough", raw)


def successions(makers: Makers) -> Iterator[Case]:
    """Yield what may follow version 1, and what may not."""
    community = makers.community
    roots, keys, directory = community.roots.raw, community.root_keys, community.directory
    stranger = SigningKey.make(HYBRID_KEM)

    def case(name: str, expect: str, step: int, comment: str, listing: Listing, *signers: SigningKey) -> Case:
        blocks = (roots, directory.raw, signed(listing.payload, *(signers or keys[:2])))
        return Case(f"succession-{name}", "directory.succeed", expect, blocks, comment, f"Directory {step}")

    follower = replace(directory.listing, version=2, previous=directory.digest)
    yield case("ok", "ok", 5, "version 2", follower)
    same = Case("succession-same", "directory.succeed", "ok", (roots, directory.raw, directory.raw), "the same again")
    yield replace(same, step="Directory 5")
    new = (keys[0], keys[1], stranger)
    listed = Roots(2, tuple(RootKey(k.public, f"party {n}", k.suite.number) for n, k in enumerate(new)))
    rooted = replace(follower, roots=listed)
    yield case("ok-new-root", "ok", 5, "a root key replaced", rooted)
    bad, rollback = "bad_signature", "directory_rollback"
    yield case("new-root-alone", bad, 2, "signed by one old root key and the new one", rooted, keys[0], stranger)
    yield case("old-roots", bad, 3, "new root keys, and signed by the old ones alone", _moved(follower), *keys)
    yield case("one", bad, 2, "version 2, signed by one", follower, keys[0])
    yield case("skipped", rollback, 4, "version 3 after version 1", replace(follower, version=3))
    yield case("community", rollback, 4, "another community's version 2", replace(follower, community="other.example"))
    yield case("equal", "log_fork", 5, "another version 1", replace(directory.listing, expires_at=NOW + DAY))
    yield case("unlinked", "log_fork", 5, "version 2 after something else", replace(follower, previous=bytes(32)))


def _moved(listing: Listing) -> Listing:
    """Return a content with root keys that nobody knows."""
    strangers = [SigningKey.make(HYBRID_KEM) for _ in range(2)]
    return replace(listing, roots=Roots(2, tuple(RootKey(k.public, f"new {n}", 3) for n, k in enumerate(strangers))))


def _listing_changes() -> Iterator[tuple[str, str, Callable[[Any], object]]]:
    def twice(rows: Any) -> None:
        rows.add().CopyFrom(rows[0])

    bad = "bad_field"
    yield "format", "unknown_version", put(format=2)
    yield "version-0", bad, clear("version")
    yield "previous", bad, put(previous=bytes(31))
    yield "times", bad, lambda m: setattr(m, "issued_ms", m.expires_ms)
    yield "community", bad, put(community="Exchange")
    yield "nations-order", bad, lambda m: m.nations.reverse()
    yield "nation-code", bad, within("nations", put(code="TH"))
    yield "nation-twice", bad, lambda m: twice(m.nations)
    yield "relay-twice", bad, lambda m: twice(m.relays)
    yield "agencies-order", bad, lambda m: m.agencies.reverse()
    yield "agency-suffix", bad, within("agencies", put(name="desk.navy.my.example"))
    yield "agency-nation", bad, within("agencies", put(nation="my"))
    yield "agency-relay", bad, lambda m: setattr(m.agencies[0], "relay", m.agencies[1].name)
    yield "member", bad, lambda m: m.groups[0].members.append("zz.example")
    yield "suites-order", bad, lambda m: m.suites.append(1)
    yield "domains-order", bad, lambda m: m.agencies[0].domains.append(1)
    yield "threshold-0", bad, lambda m: m.roots.ClearField("threshold")
    yield "threshold-4", bad, lambda m: setattr(m.roots, "threshold", 4)
    yield "root-key", "bad_certificate", lambda m: setattr(m.roots.keys[-1], "public_key", b"\xff" * 31)
    yield "log-key", "malformed", lambda m: m.relays[0].log_keys.__setitem__(0, "x")
    yield "log-key-twice", bad, lambda m: m.relays[0].log_keys.__setitem__(0, m.relays[1].log_keys[0])


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    makers = worlds.one
    yield from directories(makers)
    yield from successions(makers)
