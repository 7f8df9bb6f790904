"""World: what the readers of vectors hold beside them, and the private halves with which vectors are made."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.keys import SigningKey
from infoexchange.listing import RootKey, Roots
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, OFFERED, Suite
from infoexchange.testing import Community
from infoexchange.v1 import bundle_pb2

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SENDER, RECIPIENT, SECOND, OTHER = (
    "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example", "desk.navy.th.example"
)  # fmt: skip
THIRD, OUTSIDER = "desk.lcdc.la.example", "watch.navy.la.example"  # of the nation that world one does not have
PART_LEAST = 200  # bytes, below which a file of its own saves nothing
SCHEMA = "infoexchange.catalogue.v1.OfficerAcknowledgement"
# One root key of three is composite: enough to show that every suite serves, and directories stay short.
ROOT_SUITES = (HYBRID_KEM, HYBRID_KEM, HYBRID)


class Makers:
    """A community with its private keys, and a short way to seal."""

    def __init__(self, name: str, agencies: Mapping[str, Sequence[str]], suites: Sequence[Suite] = OFFERED) -> None:
        """Make everybody's keys anew."""
        self.name = name
        self.community = rooted(Community.make(agencies, now=NOW, suites=suites))
        self.members = self.community.members
        self.directory = self.community.directory

    def header(self, suite: Suite = HYBRID_KEM, **fields: object) -> Header:
        """Return a header that only lacks what sealing fills in."""
        header = Header(
            suite=suite.number,
            message_id=secrets.token_bytes(16),
            sender=SENDER,
            sender_bundle=self.members[SENDER].bundle.digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=Precedence.ROUTINE,
            created_at=NOW,
            expires_at=NOW + LIFETIME_DEFAULT,
            sequence=1,
            previous=b"",
            content_commitment=b"",
        )
        return replace(header, **fields)  # type: ignore[arg-type]  # fields of the header

    def seal(
        self, payload: bytes, names: Sequence[str] = (RECIPIENT,), header: Header | None = None, by: str = SENDER
    ) -> Envelope:
        """Return a sealed envelope."""
        bundles = [self.members[name].bundle for name in names]
        content = Content.make(SCHEMA, payload, thread_id=bytes(16))
        return Envelope.seal(content, header or self.header(), bundles, self.members[by].identity.epochs[0])

    def write(self, folder: Path) -> None:
        """Write what readers hold: everything but the root keys and the CAs."""
        folder.mkdir(parents=True, exist_ok=True)
        text = {
            "now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
            "roots": _text(self.community.roots.raw),
            "directory": _text(self.directory.raw),
            "bundles": [_bundle(member.bundle) for member in self.members.values()],
            "identities": {name: json.loads(member.identity.raw) for name, member in self.members.items()},
            "logs": {name: json.loads(keys.raw) for name, keys in self.community.log_keys.items()},
        }
        (folder / f"{self.name}.json").write_text(json.dumps(text, indent=1) + "\n", "utf-8")

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield what stands in many vectors of this world."""
        community = self.community
        yield f"{self.name}-directory", self.directory.raw
        yield f"{self.name}-listing", self.directory.listing.payload
        yield f"{self.name}-roots", community.roots.raw
        for key in community.roots.keys:
            yield f"{self.name}-root-{key.holder[-1]}", key.public
        for kind, keys in (("log", community.log_keys), ("witness", community.witness_keys)):
            for relay, pair in keys.items():
                yield f"{self.name}-{relay}-{kind}", str(pair.verifier_keys[1]).encode()
        for nation, ca in community.cas.items():
            yield f"{self.name}-{nation}-ca", ca.certificate
        for name, member in self.members.items():
            owner, payload = f"{self.name}-{name}", bundle_pb2.KeyBundle.FromString(member.bundle.dsse.payload)
            yield f"{owner}-bundle", member.bundle.raw
            yield f"{owner}-keys", member.bundle.dsse.payload
            yield f"{owner}-crl", member.crl
            for n, der in enumerate(member.certificates, 1):
                yield f"{owner}-certificate-{n}", der
            for n, row in enumerate([*payload.enc_keys, *payload.sig_keys]):
                yield f"{owner}-key-{n}", row.public_key


class Worlds:
    """The three communities of the vectors."""

    def __init__(self) -> None:
        """Make them."""
        self.one = Makers("one", {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]})
        every = (CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH)
        self.two = Makers("two", {"th": ["desk.oncb"], "vn": ["intel.c04"]}, every)
        # Short keys, because evidence and origins carry many of them.
        three = {"th": ["desk.oncb"], "vn": ["intel.c04", "duty.guard"], "la": ["desk.lcdc", "watch.navy"]}
        self.three = Makers("three", three, (HYBRID_KEM,))
        self.others: dict[str, bytes] = {}  # what a family of vectors shares, by name

    def write(self, folder: Path) -> None:
        """Write all of them."""
        for makers in (self.one, self.two, self.three):
            makers.write(folder)

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is likely to stand in many vectors, with a name each."""
        for makers in (self.one, self.two, self.three):
            yield from ((name, raw) for name, raw in makers.parts() if len(raw) > PART_LEAST)
        yield from self.others.items()


def rooted(community: Community) -> Community:
    """Return a community whose directory has shorter root keys, so that the vectors stay short."""
    keys = tuple(SigningKey.make(suite) for suite in ROOT_SUITES)
    roots = Roots(2, tuple(RootKey(key.public, f"party {n}", key.suite.number) for n, key in enumerate(keys, 1)))
    listing = replace(community.directory.listing, roots=roots)
    directory = Directory.parse(Directory.sign(listing.payload, keys[:2]), roots=roots)
    return replace(community, roots=roots, root_keys=keys, directory=directory)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bundle(bundle: KeyBundle) -> dict[str, object]:
    return {
        "bundle": _text(bundle.raw),
        "certificates": [_text(der) for der in bundle.certificates],
        "crls": [_text(der) for der in bundle.crls],
    }
