"""Records: what an agency keeps of what it has received, opens again, and destroys when its time is over.

None of this needs a relay: an agency can look into its archive, and must be able to destroy, whatever the network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infoexchange import suites
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.attestation import Attestation
from infoexchange.bundle import KeyBundle
from infoexchange.delivery import Delivery, Refusal, read, trace
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, RefusedError, error
from infoexchange.keys import Identity
from infoexchange.manifest import Manifest
from infoexchange.ports import Clock, Notice, Spool
from infoexchange.retention import Archive, Entry, Kept
from infoexchange.states import Event


@dataclass(frozen=True)
class Records:
    """An agency's archive, with the keys it needs.

    Attributes:
        identity: The agency's private half.
        archive: Where messages are kept.
        clock: Gives the time now.
    """

    identity: Identity
    archive: Archive
    clock: Clock

    def keep(self, delivery: Delivery, content_key: bytes, sender: KeyBundle, directory: Directory) -> None:
        """Keep a message as it was delivered; its own `retention_until` says when it is due for destruction."""
        entry = Entry(
            digest=delivery.digest,
            sender=delivery.sender,
            received_at=delivery.received_at,
            retention_until=delivery.retention_until,
        )
        kept = Kept(entry, delivery.envelope.raw, sender, directory.raw)
        self.archive.keep(kept, kept.seal(content_key, self.identity.archive))

    def entries(self) -> Sequence[Entry]:
        """Return every line of the archive, oldest first."""
        return self.archive.entries()

    def manifest(self, digest: bytes) -> Manifest | None:
        """Return what is left of a message whatever was destroyed, for evidence."""
        kept = self.archive.find(digest)
        return kept.manifest if kept else None

    def envelope(self, digest: bytes) -> Envelope | None:
        """Return the envelope of a message that was not destroyed."""
        kept = self.archive.find(digest)
        return Envelope.parse(kept.raw) if kept and kept.entry.destroyed_at is None else None

    def open(self, digest: bytes) -> Delivery:
        """Return a message once more, everything about it verified again as of the time it arrived.

        Of its attestations those are given again that the sender's keys made: others' keys are not kept here.

        Raises:
            RefusedError: `NOT_ADDRESSED` when it is not in the archive, `EXPIRED` once it is destroyed.
            UntrustedError: What is in the archive does not hold.
        """
        kept = self._find(digest)
        if kept.entry.destroyed_at is not None:
            raise error(
                Reason.EXPIRED,
                field=f"message {digest.hex()[:16]}",
                detail=f"its key was destroyed at {kept.entry.destroyed_at:%Y-%m-%d %H:%M:%S}Z",
                next_step="Nobody can open it here; `evidence make` still proves who sent it.",
            )
        content_key = kept.unseal(self.archive.sealed_key(digest), self.identity.archive)
        envelope, directory, then = Envelope.parse(kept.raw), kept.directory_then(), kept.entry.received_at
        if envelope.digest != digest:
            raise error(Reason.BAD_SIGNATURE, field="archive", detail="another envelope stands in its place")
        envelope.verify(directory, kept.bundle, now=then)
        content = envelope.read(content_key)
        message = read(envelope.header, content, directory, self.identity.name, now=then)
        origin = trace(envelope, content, message, directory)
        attested = [a for a in map(Attestation.parse, content.attestations) if a.signer_bundle == kept.bundle.digest]
        for attestation in attested:
            attestation.verify(directory, kept.bundle, envelope.header)
        sender = envelope.header.sender
        return Delivery(message, sender, envelope, content, then, (), tuple(attested), True, origin)

    def verify(self, digest: bytes) -> str:
        """Return the sender of a message, once its original signature has been verified; also after its destruction.

        Raises:
            RefusedError: `NOT_ADDRESSED` when it is not in the archive.
            UntrustedError: The signature does not hold.
        """
        kept = self._find(digest)
        return kept.manifest.verify(kept.directory_then(), kept.bundle).name

    def _find(self, digest: bytes) -> Kept:
        kept = self.archive.find(digest)
        if kept is None:
            step = "Check the ID; `infoexchange archive list` shows what is there."
            name = f"message {digest.hex()[:16]}"
            raise error(Reason.NOT_ADDRESSED, field=name, detail="not in the archive", next_step=step)
        return kept

    def due(self) -> Sequence[bytes]:
        """Return what is past its retention and not destroyed yet."""
        return self.archive.due(self.clock())

    def destroy(self, digests: Sequence[bytes]) -> None:
        """Destroy the content keys of messages for good; the mailbox states it with its next `flush`.

        Raises:
            RefusedError: `NOT_ADDRESSED` when one is not in the archive; then none is destroyed.
            UnavailableError: The disk failed; doing it again finishes what was begun.
        """
        for digest in digests:
            self._find(digest)
        self.archive.destroy(digests, self.clock())

    def state(self, spool: Spool, bundle: KeyBundle) -> list[Refusal]:
        """Sign what is destroyed and not stated yet, and keep that in the spool; return what cannot be signed now."""
        refused: list[Refusal] = []
        for entry in self.archive.unstated():
            # After the fact, so that no crash makes it a lie. A crash before `stated` makes a second statement, which
            # the relay answers with the receipt of the first.
            try:
                spool.keep(self._statement(entry, bundle))
            except RefusedError as problem:  # the agency has given up the suite; the archive keeps it in mind
                refused.append(Refusal(entry.digest, entry.sender, problem, signed=False))
            else:
                self.archive.stated([entry.digest])
        return refused

    def _statement(self, entry: Entry, bundle: KeyBundle) -> Notice:
        header = self._find(entry.digest).manifest.header
        statement = Statement(
            envelope_digest=entry.digest,
            issuer=self.identity.name,
            issuer_bundle=bundle.digest,
            state=Event.DESTROYED,
            at=self.clock(),
            content_commitment=header.content_commitment,
        )
        signed = Acknowledgement.sign(statement, suites.suite_of(header.suite), bundle.keys_in(self.identity))
        return Notice(entry.digest, Event.DESTROYED, signed.raw)
