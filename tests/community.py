"""A small community with real keys: two nations, a relay and two agencies each."""

import secrets
from datetime import UTC, datetime, timedelta

from infoexchange import certificates, suites
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import NationalCa
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.keys import Identity, SigningKey
from infoexchange.listing import Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys
from infoexchange.states import OpStatus, Precedence

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


class Community:
    """Nations `aa` and `bb`, each with a CA, `relay.<nation>.example` and the agencies `coast` and `police`."""

    def __init__(self, now=NOW):
        self.now = now
        self.cas = {code: NationalCa.make(f"{code}.example", now=now) for code in ("aa", "bb")}
        self.identities = {}
        self.bundles = {}
        self.logs = {f"relay.{code}.example": LogKeys.make(f"relay.{code}.example", now=now) for code in self.cas}
        for code in self.cas:
            for office in ("coast", "police"):
                self._join(f"{office}.{code}.example")
        self.directory = self._directory()
        self._newest = {}

    def _join(self, name):
        identity = Identity.make(name)
        ca = self.cas[name.split(".")[1]]
        requests = certificates.identity_requests(name, identity.key.ed25519, identity.key.mldsa65)
        issued = [ca.issue(request, now=self.now) for request in requests]
        self.identities[name] = identity
        self.bundles[name] = KeyBundle.issue(identity, issued, [ca.crl(now=self.now)], now=self.now)

    def _directory(self):
        since = self.now - timedelta(days=1)
        nations = tuple(
            Nation(code=code, suffix=f"{code}.example", member_from=since, identity_cas=(ca.certificate,))
            for code, ca in self.cas.items()
        )
        relays = tuple(
            Party(
                name=name,
                nation=name.split(".")[1],
                role=Role.RELAY,
                relay=name,
                log_keys=tuple(str(key) for key in log.verifier_keys),
            )
            for name, log in self.logs.items()
        )
        agencies = tuple(
            Party(name=name, nation=code, role=Role.AGENCY, relay=f"relay.{code}.example", domains=(1,))
            for name, code in ((name, name.split(".")[1]) for name in self.identities)
        )
        self.root = SigningKey.make(suites.DEFAULT_SUITE)
        listing = Listing(
            community="exchange.example",
            version=1,
            issued_at=since,
            expires_at=self.now + timedelta(days=365),
            roots=Roots(1, (RootKey(self.root.public, "secretariat"),)),
            nations=nations,
            parties=(*relays, *agencies),
        )
        return Directory.parse(Directory.sign(listing.payload, [self.root]), roots=listing.roots)

    def seal(self, sender, recipients, payload=b"\x0a\x05hello", *, precedence=Precedence.ROUTINE, lifetime=None):
        """Return the sender's next envelope to the recipients."""
        sequence, previous = self._newest.get(sender, (0, b""))
        header = Header(
            suite=suites.DEFAULT_SUITE.number,
            message_id=secrets.token_bytes(16),
            sender=sender,
            sender_bundle=self.bundles[sender].digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=precedence,
            created_at=self.now,
            expires_at=self.now + (lifetime or LIFETIME_DEFAULT),
            sequence=sequence + 1,
            previous=previous,
            content_commitment=b"",
        )
        content = Content.make("infoexchange.catalogue.v1.Note", payload)
        bundles = [self.bundles[name] for name in recipients]
        envelope = Envelope.seal(content, header, bundles, self.identities[sender].epochs[0])
        self._newest[sender] = (sequence + 1, envelope.digest)
        return envelope
