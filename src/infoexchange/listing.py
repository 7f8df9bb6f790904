"""Listing: the content of a directory version: nations, parties, groups and roots (SPEC section Directory).

It says what is written; `directory` says when it may be believed.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import certificates, suites, wire
from infoexchange.dsse import Dsse
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.keys import key_id
from infoexchange.suites import Suite
from infoexchange.tlog import Policy, VerifierKey
from infoexchange.v1 import directory_pb2

# Specification constants
DIRECTORY_SIZE_MAX = 4 * 1024 * 1024  # one gRPC frame holds it with room to spare
NAME_MAX = 200  # a log's name is its relay's and a suffix, and C2SP counts it in one byte
_CODE = re.compile(r"[a-z][a-z0-9]{1,15}")
PARTIES_MAX = 4096  # more names than any regional community has offices on duty


class Role(enum.Enum):
    """What a party is."""

    AGENCY = "agency"
    RELAY = "relay"


@dataclass(frozen=True)
class RootKey:
    """A key that may sign the directory, and who holds it."""

    public: bytes
    holder: str
    suite: int = suites.DEFAULT_SUITE.number


@dataclass(frozen=True)
class Roots:
    """The keys that sign a directory and how many must."""

    threshold: int
    keys: tuple[RootKey, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Roots:
        """Return the roots of a trust-anchor file, or raise `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`."""
        return cls.from_wire(wire.parse(directory_pb2.Roots, raw, size_max=DIRECTORY_SIZE_MAX, field="roots"))

    @classmethod
    def from_wire(cls, message: directory_pb2.Roots) -> Roots:
        """Return the roots that stood inside a directory."""
        wire.check_ascending([k.public_key for k in message.keys], field="roots.keys")
        if not 1 <= message.threshold <= len(message.keys):
            raise error(Reason.BAD_FIELD, field="roots.threshold", detail=f"{message.threshold} of {len(message.keys)}")
        for key in message.keys:
            suites.suite_of(key.suite).check_signing_key(key.public_key)
        # One party with two keys would sign for two.
        if len({k.holder for k in message.keys}) != len(message.keys) or not all(k.holder for k in message.keys):
            raise error(Reason.BAD_FIELD, field="roots.holder", detail="each key has a holder of its own, with a name")
        return cls(message.threshold, tuple(RootKey(k.public_key, k.holder, k.suite) for k in message.keys))

    def to_wire(self) -> directory_pb2.Roots:
        """Return the protobuf form, keys ascending."""
        ordered = sorted(self.keys, key=lambda key: key.public)
        keys = [directory_pb2.RootKey(suite=k.suite, public_key=k.public, holder=k.holder) for k in ordered]
        return directory_pb2.Roots(threshold=self.threshold, keys=keys)

    @property
    def raw(self) -> bytes:
        """Canonical bytes: the trust-anchor file that a new party is handed."""
        return wire.canonical(self.to_wire())

    def signed_by(self, dsse: Dsse) -> dict[RootKey, int]:
        """Return the keys that signed a container, each with the place of its first signature.

        A key counts once, however often it signed; signatures of strangers are passed over.
        """
        signed: dict[RootKey, int] = {}
        for place in range(len(dsse.signatures)):
            key = self.signer_of(dsse, place)
            if key is not None:
                signed.setdefault(key, place)
        return signed

    def signer_of(self, dsse: Dsse, place: int) -> RootKey | None:
        """Return the key that made the signature at a place of a container; nothing if none of these did."""
        signature, hint = dsse.signatures[place], dsse.key_ids[place]
        # The hint only decides which key is tried first.
        for key in sorted(self.keys, key=lambda k: key_id(k.public) != hint):
            if _holds(key, dsse.message, signature):
                return key
        return None

    def check_signed(self, dsse: Dsse) -> tuple[str, ...]:
        """Return the holders that signed, or raise `BAD_SIGNATURE` when they are fewer than the threshold."""
        signed = self.signed_by(dsse)
        if len(signed) < self.threshold:
            raise error(
                Reason.BAD_SIGNATURE,
                field="directory",
                detail=f"{len(signed)} root signatures hold, {self.threshold} are needed",
                next_step="Have another root key sign it, or use a copy that enough have signed."
                if signed
                else "Check that these root keys are those of the community whose directory this is.",
            )
        return tuple(key.holder for key in signed)


def _holds(key: RootKey, message: bytes, signature: bytes) -> bool:
    """Whether one root key made `signature`; the caller counts and raises."""
    try:
        suites.suite_of(key.suite).verify(key.public, message, signature)
    except ExchangeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Nation:
    """A member state or partner body with its CAs."""

    code: str
    suffix: str
    member_from: datetime
    member_to: datetime | None = None
    identity_cas: tuple[bytes, ...] = field(default=(), repr=False)
    tls_cas: tuple[bytes, ...] = field(default=(), repr=False)
    treaties: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Party:
    """A named entry: an agency, or a relay.

    `relay` is the relay that holds an agency's mailbox, and the relay's own name for a relay. `domains` are the numbers
    of the domains an agency may send and receive. `address`, `log_keys` and `witness_keys` are a relay's.
    """

    name: str
    nation: str
    role: Role
    relay: str
    title: str = ""
    domains: tuple[int, ...] = ()
    member_from: datetime | None = None
    member_to: datetime | None = None
    address: str = ""
    log_keys: tuple[str, ...] = ()
    witness_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """A working group with its time."""

    name: str
    members: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The content of a directory version, before or after it is signed."""

    community: str
    version: int
    issued_at: datetime
    expires_at: datetime
    roots: Roots
    nations: tuple[Nation, ...]
    parties: tuple[Party, ...]
    groups: tuple[Group, ...] = ()
    suites: tuple[int, ...] = tuple(suite.number for suite in suites.OFFERED)
    witness_policy: str = ""
    previous: bytes = b""

    @functools.cached_property
    def payload(self) -> bytes:
        """The canonical bytes that the root keys sign."""
        relays = [p for p in self.parties if p.role is Role.RELAY]
        agencies = [p for p in self.parties if p.role is Role.AGENCY]
        return wire.canonical(
            directory_pb2.Directory(
                format=1,
                community=self.community,
                version=self.version,
                issued_ms=wire.to_ms(self.issued_at),
                expires_ms=wire.to_ms(self.expires_at),
                previous=self.previous,
                roots=self.roots.to_wire(),
                nations=[_nation_to_wire(n) for n in sorted(self.nations, key=lambda n: n.code)],
                relays=[_relay_to_wire(p) for p in sorted(relays, key=lambda p: p.name)],
                agencies=[_agency_to_wire(p) for p in sorted(agencies, key=lambda p: p.name)],
                groups=[_group_to_wire(g) for g in sorted(self.groups, key=lambda g: g.name)],
                suites=sorted(self.suites),
                witness_policy=self.witness_policy,
            )
        )

    @classmethod
    def parse(cls, payload: bytes) -> Listing:
        """Return the content of canonical payload bytes, or raise `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`."""
        m = wire.parse(directory_pb2.Directory, payload, size_max=DIRECTORY_SIZE_MAX, field="directory")
        if m.format != 1:
            raise error(Reason.UNKNOWN_VERSION, field="format", detail=f"directory format {m.format}")
        if len(m.agencies) + len(m.relays) > PARTIES_MAX:
            raise error(Reason.TOO_LARGE, field="agencies", detail=f"more than {PARTIES_MAX} parties")
        for names, where in (
            ([n.code for n in m.nations], "nations"),
            ([r.name for r in m.relays], "relays"),
            ([a.name for a in m.agencies], "agencies"),
            ([g.name for g in m.groups], "groups"),
        ):
            wire.check_ascending(names, field=where)
        wire.check_ascending(list(m.suites), field="suites")
        listing = cls(
            community=wire.check_name(m.community, field="community"),
            version=m.version,
            issued_at=wire.from_ms(m.issued_ms, field="issued_ms"),
            expires_at=wire.from_ms(m.expires_ms, field="expires_ms"),
            roots=Roots.from_wire(m.roots),
            nations=tuple(_nation_from_wire(n) for n in m.nations),
            parties=(*(_relay_from_wire(r) for r in m.relays), *(_agency_from_wire(a) for a in m.agencies)),
            groups=tuple(_group_from_wire(g) for g in m.groups),
            suites=tuple(m.suites),
            witness_policy=m.witness_policy,
            previous=wire.check_size(m.previous, wire.DIGEST_SIZE, field="previous", optional=True),
        )
        listing.check()
        return listing

    def check_suite(self, suite: Suite, *, field: str) -> None:
        """Raise `SUITE_NOT_ACCEPTED` unless the community accepts the suite."""
        if suite.number not in self.suites:
            detail = f"the directory does not accept {suite.name}"
            raise error(Reason.SUITE_NOT_ACCEPTED, field=field, detail=detail)

    def check(self) -> None:
        """Raise `BAD_FIELD` unless every reference holds: names below their nation's suffix, relays that exist."""
        nations = {n.code: n for n in self.nations}
        relays = {p.name for p in self.parties if p.role is Role.RELAY}
        names = {p.name for p in self.parties}
        if self.version < 1 or self.issued_at >= self.expires_at:
            raise error(Reason.BAD_FIELD, field="version", detail="version from 1; issued before it expires")
        if len(names) != len(self.parties):
            raise error(Reason.BAD_FIELD, field="agencies", detail="a name stands twice")
        for n in self.nations:
            if not _CODE.fullmatch(n.code):
                raise error(
                    Reason.BAD_FIELD, field="nations.code", detail=f"{n.code[:40]!r} is not such as th or unmas"
                )
            for ca in (*n.identity_cas, *n.tls_cas):
                certificates.check_ca(ca)  # one that cannot be read would stop every relay that takes this version
        keys = [VerifierKey.parse(text) for p in self.parties for text in (*p.log_keys, *p.witness_keys)]
        if len({key.public for key in keys}) != len(keys):
            raise error(Reason.BAD_FIELD, field="relays.log_keys", detail="one key, two relays or two purposes")
        if self.witness_policy:
            Policy.parse(self.witness_policy.encode())
        for p in self.parties:
            if len(p.name) > NAME_MAX:
                raise error(Reason.BAD_FIELD, field="name", detail=f"{len(p.name)} letters, at most {NAME_MAX}")
            nation = nations.get(p.nation)
            if nation is None or not p.name.endswith("." + nation.suffix):
                raise error(Reason.BAD_FIELD, field=p.name, detail=f"not below the suffix of nation {p.nation!r}")
            if p.relay not in relays:
                raise error(Reason.BAD_FIELD, field=p.name, detail=f"relay {p.relay!r} is not in the directory")
        for group in self.groups:
            unknown = sorted(set(group.members) - (names - relays))
            if unknown:
                raise error(
                    Reason.BAD_FIELD, field=group.name, detail=f"{unknown[0]!r} is not in the directory as an agency"
                )


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else wire.to_ms(moment)


def _moment(value: int, where: str) -> datetime | None:
    return wire.from_ms(value, field=where) if value else None


def _nation_to_wire(n: Nation) -> directory_pb2.Nation:
    return directory_pb2.Nation(
        code=n.code,
        suffix=n.suffix,
        member_from_ms=_ms(n.member_from),
        member_to_ms=_ms(n.member_to),
        identity_cas=n.identity_cas,
        tls_cas=n.tls_cas,
        treaties=n.treaties,
    )


def _nation_from_wire(m: directory_pb2.Nation) -> Nation:
    return Nation(
        code=m.code,
        suffix=wire.check_name(m.suffix, field="nations.suffix"),
        member_from=wire.from_ms(m.member_from_ms, field="nations.member_from_ms"),
        member_to=_moment(m.member_to_ms, "nations.member_to_ms"),
        identity_cas=tuple(m.identity_cas),
        tls_cas=tuple(m.tls_cas),
        treaties=tuple(m.treaties),
    )


def _relay_to_wire(p: Party) -> directory_pb2.Relay:
    return directory_pb2.Relay(
        name=p.name, nation=p.nation, address=p.address, log_keys=p.log_keys, witness_keys=p.witness_keys
    )


def _relay_from_wire(m: directory_pb2.Relay) -> Party:
    return Party(
        name=wire.check_name(m.name, field="relays.name"),
        nation=m.nation,
        role=Role.RELAY,
        relay=m.name,
        address=m.address,
        log_keys=tuple(m.log_keys),
        witness_keys=tuple(m.witness_keys),
    )


def _agency_to_wire(p: Party) -> directory_pb2.Agency:
    return directory_pb2.Agency(
        name=p.name,
        nation=p.nation,
        relay=p.relay,
        title=p.title,
        domains=sorted(p.domains),
        member_from_ms=_ms(p.member_from),
        member_to_ms=_ms(p.member_to),
    )


def _agency_from_wire(m: directory_pb2.Agency) -> Party:
    wire.check_ascending(list(m.domains), field="agencies.domains")
    return Party(
        name=wire.check_name(m.name, field="agencies.name"),
        nation=m.nation,
        role=Role.AGENCY,
        relay=m.relay,
        title=m.title,
        domains=tuple(m.domains),
        member_from=_moment(m.member_from_ms, "agencies.member_from_ms"),
        member_to=_moment(m.member_to_ms, "agencies.member_to_ms"),
    )


def _group_to_wire(g: Group) -> directory_pb2.Group:
    return directory_pb2.Group(
        name=g.name, members=sorted(g.members), valid_from_ms=_ms(g.valid_from), valid_to_ms=_ms(g.valid_to)
    )


def _group_from_wire(m: directory_pb2.Group) -> Group:
    wire.check_ascending(list(m.members), field="groups.members")
    return Group(
        name=m.name,
        members=tuple(m.members),
        valid_from=wire.from_ms(m.valid_from_ms, field="groups.valid_from_ms"),
        valid_to=_moment(m.valid_to_ms, "groups.valid_to_ms"),
    )
