"""Evidence: one `.ixev` file that an auditor verifies offline, without a key (SPEC section Evidence).

It shows who sent what size of thing to whom and when, that nothing of it was changed, and that the relays' logs hold
every step. Nothing in the file is believed: each part is verified, and each part is tied to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from infoexchange import wire
from infoexchange.approval import Approval
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.disclosure import Disclosure
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.evidence.inquiry import Inquiry
from infoexchange.evidence.outcome import Outcome, outcome
from infoexchange.grant import Grant
from infoexchange.listing import Party, Roots
from infoexchange.manifest import Manifest
from infoexchange.ports import History
from infoexchange.receipt import Receipt
from infoexchange.statement import SignedStatement, parse_statement
from infoexchange.transfer import TRANSFERS_MAX, Transfer
from infoexchange.v1 import envelope_pb2, evidence_pb2
from infoexchange.verdict import Report

__all__ = ["Evidence", "Outcome", "outcome"]

# Specification constants
EVIDENCE_SIZE_MAX = 16 * 1024 * 1024  # an envelope, its directory, and the events of 64 recipients
EVENTS_MAX = 1024
BUNDLES_MAX = 256  # the sender's, and each of 64 recipients' over the life of a message
DISCLOSURES_MAX = 64  # more than one reader can compare
VERSION = 1


@dataclass(frozen=True)
class Evidence:
    """A parsed evidence file; `verify` lists what it proves."""

    raw: bytes = field(repr=False)
    digest: bytes
    manifest: Manifest
    envelope: Envelope | None = field(repr=False)
    directory_raw: bytes = field(repr=False)
    bundles: tuple[KeyBundle, ...] = field(repr=False)
    events: tuple[Receipt, ...] = field(repr=False)
    statements: tuple[SignedStatement, ...] = field(repr=False)
    grant: Grant | None = None
    transfers: tuple[Transfer, ...] = ()
    disclosures: tuple[Disclosure, ...] = ()

    @classmethod
    def make(
        cls,
        envelope: Envelope | Manifest,
        directory: Directory,
        bundles: Sequence[KeyBundle],
        history: History,
        transfers: Sequence[Transfer] = (),
        disclosures: Sequence[Disclosure] = (),
    ) -> Evidence:
        """Return the evidence of one message from parts that are verified with it, later and by others.

        Args:
            envelope: The envelope; or its manifest alone, where the ciphertext is gone.
            directory: The directory in force.
            bundles: Of the sender, and of whoever signed a statement.
            history: What the relays logged.
            transfers: Those before it, where it passes another agency's content on under a grant.
            disclosures: Records of it that are shown.
        """
        events = {receipt.leaf: receipt for receipt in history.events}
        message = evidence_pb2.Evidence(
            version=VERSION,
            envelope_digest=envelope.digest,
            envelope=envelope.raw if isinstance(envelope, Envelope) else b"",
            manifest=envelope.dsse.to_wire() if isinstance(envelope, Manifest) else None,
            certificates=sorted({c for bundle in bundles for c in bundle.certificates}),
            bundles=sorted(bundle.raw for bundle in bundles),
            crls=sorted({crl for bundle in bundles for crl in bundle.crls}),
            directory=directory.raw,
            statements=sorted(set(history.statements)),
            transfers=[transfer.to_wire() for transfer in transfers],
            disclosures=sorted({disclosure.raw for disclosure in disclosures}),
        )
        for receipt in events.values():
            message.events.add().ParseFromString(receipt.raw)
        return cls.parse(wire.canonical(message))

    def sealed(self) -> Evidence:
        """Return the same evidence without the ciphertext: authorship can be checked, there is nothing to open."""
        message = evidence_pb2.Evidence.FromString(self.raw)
        message.ClearField("envelope")
        message.manifest.CopyFrom(self.manifest.dsse.to_wire())
        message.grant = self.grant.raw if self.grant else b""
        return Evidence.parse(wire.canonical(message))

    @classmethod
    def parse(cls, raw: bytes) -> Evidence:
        """Return the evidence of canonical file bytes; nothing is verified yet.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            UntrustedError: `BAD_COMMITMENT` when a disclosed group is not the one its leaf commits to.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms of the file and of every part
        m = wire.parse(evidence_pb2.Evidence, raw, size_max=EVIDENCE_SIZE_MAX, field="evidence")
        if m.version != VERSION:
            raise error(Reason.UNKNOWN_VERSION, field="version", detail=f"version {m.version}")
        if bool(m.envelope) == m.HasField("manifest"):
            raise error(Reason.BAD_FIELD, field="envelope", detail="either an envelope or a manifest must be there")
        limits = {"events": EVENTS_MAX, "transfers": TRANSFERS_MAX, "disclosures": DISCLOSURES_MAX}
        for name, most in limits.items():
            if (count := len(getattr(m, name))) > most:
                raise error(Reason.TOO_LARGE, field=name, detail=f"{count}, at most {most}")
        envelope = Envelope.parse(m.envelope) if m.envelope else None
        manifest = envelope.manifest if envelope else _manifest(m.manifest)
        if (m.envelope and m.grant) or (m.transfers and not manifest.header.grant):
            raise error(Reason.BAD_FIELD, field="grant", detail="it does not belong here")
        # (2) the file speaks of the message it names
        disclosures = tuple(map(Disclosure.parse, m.disclosures))
        if {manifest.digest, *(d.manifest.digest for d in disclosures)} != {m.envelope_digest}:
            raise error(Reason.BAD_FIELD, field="envelope_digest", detail="it names another message")
        if len(m.bundles) > BUNDLES_MAX or len(m.certificates) > 2 * BUNDLES_MAX or len(m.crls) > 2 * BUNDLES_MAX:
            raise error(Reason.TOO_LARGE, field="bundles", detail=f"{len(m.bundles)} bundles, at most {BUNDLES_MAX}")
        certificates = {sha256(der).digest(): der for der in m.certificates}
        bundles = [_bundle(bundle, certificates, m.crls) for bundle in m.bundles]
        return cls(
            raw,
            m.envelope_digest,
            manifest,
            envelope,
            m.directory,
            tuple(bundles),
            tuple(Receipt.parse(wire.canonical(event)) for event in m.events),
            tuple(parse_statement(statement) for statement in m.statements),
            envelope.grant if envelope else Grant.parse(m.grant) if m.grant else None,
            tuple(Transfer.parse(t.manifest, t.grant, t.accepted, t.wrap) for t in m.transfers),
            disclosures,
        )

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """Those of the statements that approve a disclosure."""
        return tuple(statement for statement in self.statements if isinstance(statement, Approval))

    def approvals_of(self, disclosure: Disclosure) -> list[Approval]:
        """Return the approvals that name a disclosure; none of them verified here."""
        return [a for a in self.approvals if a.statement.disclosure_digest == disclosure.digest]

    def bundle(self, digest: bytes) -> KeyBundle:
        """Return the bundle of that digest; it is not verified here.

        Raises:
            RefusedError: `STALE_BUNDLE` when the file has none.
        """
        for bundle in self.bundles:
            if bundle.digest == digest:
                return bundle
        raise error(Reason.STALE_BUNDLE, field="bundles", detail=f"bundle {digest.hex()[:16]} is not in the file")

    def author(self, directory: Directory) -> Party:
        """Return the sender, once it is shown to have signed the message; raises as `Manifest.verify`.

        Spec: section Envelope, steps 2 to 4. The rest of the file is not looked at.
        """
        return self.manifest.verify(directory, self.bundle(self.manifest.header.sender_bundle))

    def directory(self, roots: Roots) -> Directory:
        """Return the directory that the file carries, once the auditor's own trust anchor has signed it.

        Raises:
            UntrustedError: `BAD_SIGNATURE`.
        """
        return Directory.parse(self.directory_raw, roots=roots)

    def verify(self, directory: Directory, *, now: datetime) -> Report:
        """Return every finding; nothing is decrypted and nothing is fetched.

        Spec: section Evidence, steps 3 to 13. Times are judged as the log entries give them, not by today's clock.

        Args:
            directory: A verified directory: the auditor's own, or the file's under the auditor's roots.
            now: The auditor's clock, used only to refuse cosignatures from the future.
        """
        return Inquiry(self, directory, now).report()


def _manifest(message: envelope_pb2.Dsse) -> Manifest:
    return Manifest.from_dsse(Dsse.from_wire(message, payload_type=TYPE_MANIFEST))


def _bundle(raw: bytes, certificates: Mapping[bytes, bytes], crls: Sequence[bytes]) -> KeyBundle:
    """Return a bundle with those certificates of the file that it names, and all revocation lists."""
    return KeyBundle.parse(raw, KeyBundle.parse(raw).named(certificates), crls)
