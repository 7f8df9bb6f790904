"""Samples of what is shown of a message, and of what is signed for it: bytes for tests that change them."""

from __future__ import annotations

from dataclasses import replace

from conftest import RECIPIENT, SENDER
from infoexchange.approval import Approval, Consent
from infoexchange.attestation import Attestation, AttestationRole
from infoexchange.audit import GROUPS
from infoexchange.content import Content
from infoexchange.disclosure import Disclosure
from infoexchange.envelope import Envelope
from infoexchange.record import LogRecord
from infoexchange.suites import HYBRID, HYBRID_KEM, Suite
from infoexchange.testing import Exchange
from test_envelope import header_for


def attestation(exchange: Exchange, commitment: bytes, suite: Suite, role: AttestationRole) -> Attestation:
    member = exchange.community.members[SENDER]
    return Attestation.sign(commitment, role, suite, member.bundle, member.identity.epochs[0], now=exchange.clock())


def attestations(exchange: Exchange) -> tuple[bytes, ...]:
    pairs = zip((HYBRID, HYBRID_KEM), AttestationRole, strict=True)
    return tuple(attestation(exchange, bytes(32), suite, role).raw for suite, role in pairs)


def approvals(exchange: Exchange) -> tuple[bytes, ...]:
    member = exchange.community.members[SENDER]
    said = Consent(
        envelope_digest=bytes(32),
        disclosure_digest=bytes(32),
        record_count=3,
        issuer=SENDER,
        issuer_bundle=member.bundle.digest,
        audience="a court",
        at=exchange.clock(),
    )
    consents = (said, replace(said, legal_basis="article 12"))
    return tuple(Approval.sign(consent, HYBRID_KEM, member.identity.epochs[0]).raw for consent in consents)


def disclosures(exchange: Exchange) -> tuple[bytes, ...]:
    made = []
    for suite, indices in ((HYBRID, [1]), (HYBRID_KEM, [0, 2, 3])):
        content = Content.make("a.B", b"\x0a\x03abc\x10\x07\x1a\x02xy", thread_id=bytes(16))
        header = header_for(exchange, suite)
        commitment = content.commitment(header.sender, header.message_id)
        content = content.attested([attestation(exchange, commitment, suite, AttestationRole.AUTHOR).raw])
        recipient = exchange.community.members[RECIPIENT].bundle
        envelope = Envelope.seal(content, header, [recipient], exchange.community.members[SENDER].identity.epochs[0])
        made.append(Disclosure.make(envelope.manifest, content, indices, attested=suite is HYBRID))
    return tuple(disclosure.raw for disclosure in made)


def log_records(exchange: Exchange) -> tuple[bytes, ...]:
    """Entries of the sender's relay as an export shows them, with more and more groups."""
    store = exchange.node_of(SENDER).store
    stored = store.records(range(store.head().size))
    chosen = [GROUPS[:count] for count in (1, 2, 3)]
    return tuple(LogRecord.make(r.entry, r.exhibit, groups).raw for groups in chosen for r in (stored[0], stored[-1]))
