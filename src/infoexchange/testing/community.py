"""Community: nations with their CAs, agencies and relays under one signed directory, made in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infoexchange import certificates
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import NationalCa
from infoexchange.directory import Directory
from infoexchange.keys import Identity, SigningKey
from infoexchange.listing import Group, Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys
from infoexchange.suites import DEFAULT_SUITE, OFFERED, Suite
from infoexchange.witness import WitnessKeys

DOMAINS = tuple(range(1, 11))  # every domain of the catalogue
_LIFETIME = timedelta(days=365)


@dataclass(frozen=True)
class Member:
    """An agency with its private half and its published keys."""

    identity: Identity
    certificates: tuple[bytes, ...] = field(repr=False)
    crl: bytes = field(repr=False)
    bundle: KeyBundle = field(repr=False)

    @property
    def name(self) -> str:
        """Name in the directory."""
        return self.identity.name


@dataclass(frozen=True)
class Community:
    """Everything a relay, an agency or an auditor of a small community holds.

    Attributes:
        roots: The trust anchor: two of three root keys.
        root_keys: Their private halves.
        directory: Version 1.
        members: Agencies by name.
        log_keys: Log keys by relay name.
        witness_keys: Witness keys by relay name.
        cas: National CA by nation code.
    """

    roots: Roots
    root_keys: tuple[SigningKey, ...] = field(repr=False)
    directory: Directory
    members: Mapping[str, Member]
    log_keys: Mapping[str, LogKeys] = field(repr=False)
    witness_keys: Mapping[str, WitnessKeys] = field(repr=False)
    cas: Mapping[str, NationalCa] = field(repr=False)

    @classmethod
    def make(
        cls,
        agencies: Mapping[str, Sequence[str]],
        *,
        now: datetime,
        addresses: Mapping[str, str] | None = None,
        suites: Sequence[Suite] = OFFERED,
    ) -> Community:
        """Return a community.

        Args:
            agencies: For each nation code the agencies' names below `<code>.example`, for example
                `{"th": ["desk.oncb"], "vn": ["intel.c04"]}`.
            now: When everything begins.
            addresses: Relay addresses by nation code, where real relays are to listen.
            suites: What every agency offers and the directory accepts.
        """
        root_keys = tuple(SigningKey.make(DEFAULT_SUITE) for _ in range(3))
        roots = Roots(2, tuple(RootKey(key.public, f"party {i}") for i, key in enumerate(root_keys, 1)))
        cas = {code: NationalCa.make(f"{code}.example", now=now) for code in agencies}
        names = {code: [f"{unit}.{code}.example" for unit in units] for code, units in agencies.items()}
        log_keys = {f"relay.{code}.example": LogKeys.make(f"relay.{code}.example", now=now) for code in agencies}
        witness_keys = {name: WitnessKeys.make(name) for name in log_keys}
        relays = [
            Party(
                name=name,
                nation=name.split(".")[1],
                role=Role.RELAY,
                relay=name,
                address=(addresses or {}).get(name.split(".")[1], ""),
                log_keys=tuple(str(key) for key in keys.verifier_keys),
                witness_keys=tuple(str(key) for key in witness_keys[name].verifier_keys),
            )
            for name, keys in log_keys.items()
        ]
        offices = [
            Party(name=name, nation=code, role=Role.AGENCY, relay=f"relay.{code}.example", domains=DOMAINS)
            for code, every in names.items()
            for name in every
        ]
        listing = Listing(
            community="exchange.example",
            version=1,
            issued_at=now,
            expires_at=now + _LIFETIME,
            roots=roots,
            nations=tuple(_nation(code, ca, now) for code, ca in cas.items()),
            parties=(*relays, *offices),
            suites=tuple(sorted(suite.number for suite in suites)),
            groups=(Group(name="everyone", members=tuple(p.name for p in offices), valid_from=now),),
        )
        directory = Directory.parse(Directory.sign(listing.payload, root_keys[:2]), roots=roots)
        members = {name: enrol(name, cas[code], now, suites) for code, every in names.items() for name in every}
        return cls(roots, root_keys, directory, members, log_keys, witness_keys, cas)


def _nation(code: str, ca: NationalCa, now: datetime) -> Nation:
    cas = (ca.certificate,)
    return Nation(code=code, suffix=f"{code}.example", member_from=now, identity_cas=cas, tls_cas=cas)


def enrol(name: str, ca: NationalCa, now: datetime, suites: Sequence[Suite] = OFFERED) -> Member:
    """Return a new agency, certified by its national CA, with the bundle of its first epoch."""
    identity = Identity.make(name, suites=suites)
    requests = certificates.identity_requests(name, identity.key)
    issued = tuple(ca.issue(request, now=now) for request in requests)
    crl = ca.crl(now=now)
    return Member(identity, issued, crl, KeyBundle.issue(identity, issued, (crl,), now=now))
