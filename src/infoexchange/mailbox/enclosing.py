"""Enclosing: how attachments leave: described and sealed with their message, then uploaded until the relay has them.

What is sealed lies on disk before the envelope that names it is signed, and stays there until the relay has accepted
that envelope, so that whatever breaks off is taken up again with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from infoexchange.attachment import AttachmentMeta, AttachmentRef, Sealing, attachment_key
from infoexchange.attachment.stream import describe, new_ids
from infoexchange.chunks import Source, upload
from infoexchange.envelope import Enclose, Envelope
from infoexchange.errors import UnavailableError
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import Result


class Enclosing:
    """The attachments of an outbox."""

    def __init__(self, desk: Desk) -> None:
        """Hold what both sides of the mailbox share."""
        self._desk = desk

    def describe(self, sources: Sequence[Source]) -> tuple[AttachmentMeta, ...]:
        """Return what the content says of files; each is read once, to its end.

        Raises:
            MalformedError: `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        ids = new_ids(len(sources), entropy=self._desk.entropy)
        return tuple(
            describe(attachment_id, source.name, source.media_type, self._told("reading", source))
            for attachment_id, source in zip(ids, sources, strict=True)
        )

    def sealing(self, sources: Sequence[Source], metas: Sequence[AttachmentMeta]) -> Enclose:
        """Return what seals the files described, reading each once more, and keeps the ciphertext."""
        return partial(self._seal, sources, metas)

    def _seal(
        self, sources: Sequence[Source], metas: Sequence[AttachmentMeta], content_key: bytes, header_digest: bytes
    ) -> list[AttachmentRef]:
        refs = []
        for source, meta in zip(sources, metas, strict=True):
            sealing = Sealing(meta, attachment_key(content_key, header_digest, meta.attachment_id))
            self._desk.spool.stash.keep(meta.attachment_id, sealing.pieces(self._told("sealing", source)))
            refs.append(sealing.ref)
        return refs

    def _told(self, what: str, source: Source) -> Iterator[bytes]:
        """Yield the bytes of a file and tell how far it is."""
        done, total = 0, source.length
        for piece in source.pieces():
            yield piece
            done += len(piece)
            self._desk.tell(f"{what} {source.name}", done, total)

    def upload(self, envelope: Envelope) -> None:
        """Upload the attachments of an envelope, each from where it stands at the relay; raises as `Chunks.write`."""
        refs = envelope.manifest.attachments
        for number, ref in enumerate(refs, 1):
            source = partial(self._desk.spool.stash.pieces, ref.attachment_id)
            tell = partial(self._desk.tell, f"uploading {number} of {len(refs)}")
            upload(self._desk.relay.chunks, ref, source, progress=tell)

    def carrying(self, items: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Envelope]:
        """Return those of `(digest, raw)` that have attachments, parsed; nothing where no ciphertext is kept."""
        if not self._desk.spool.stash.kept():
            return {}
        parsed = ((digest, Envelope.parse(raw)) for digest, raw in items)
        return {digest: envelope for digest, envelope in parsed if envelope.manifest.attachments}

    def settle(self, carrying: Mapping[bytes, Envelope], results: Iterable[tuple[bytes, Result]]) -> None:
        """Forget the ciphertext of what was accepted, or refused for good."""
        for digest, result in results:
            if digest in carrying and not isinstance(result, UnavailableError):
                self._desk.spool.stash.drop(ref.attachment_id for ref in carrying[digest].manifest.attachments)

    def forget_others(self, unsent: Iterable[Envelope]) -> None:
        """Forget the ciphertext that no envelope of the outbox names: a crash came before it was signed."""
        named = {ref.attachment_id for envelope in unsent for ref in envelope.manifest.attachments}
        self._desk.spool.stash.drop(set(self._desk.spool.stash.kept()) - named)
