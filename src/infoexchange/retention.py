"""Retention: what a recipient keeps of a message, and what is left after its destruction (SPEC section Retention).

While it is kept, everything about it can be verified and opened again, judged at the time it arrived. Its content key
lies apart, sealed under the agency's archive key; with that record the content is gone, and the manifest, which is
kept, still proves who signed what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing
from infoexchange.manifest import Manifest

# Specification constants
_LABEL = b"infoexchange/v1/archive\x00"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of an archive's list.

    Attributes:
        digest: The envelope's name.
        sender: Agency that signed it.
        received_at: When it was opened first.
        retention_until: When it is to be destroyed; nothing where nobody has set an end.
        destroyed_at: When its content key was destroyed.
    """

    digest: bytes
    sender: str
    received_at: datetime
    retention_until: datetime | None = None
    destroyed_at: datetime | None = None


@dataclass(frozen=True)
class Kept:
    """A message as an archive keeps it.

    Attributes:
        entry: Its line in the list.
        raw: The envelope as it was delivered; once destroyed, its manifest.
        bundle: The sender's keys, with the certificates and revocation lists of the time.
        directory: The directory of the time.
    """

    entry: Entry
    raw: bytes = field(repr=False)
    bundle: KeyBundle = field(repr=False)
    directory: bytes = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        """What is left for ever: who signed which bytes for whom."""
        return Envelope.parse(self.raw).manifest if self.entry.destroyed_at is None else Manifest.parse(self.raw)

    def seal(self, content_key: bytes, archive_key: bytes) -> bytes:
        """Return the content key sealed under the archive key, and what it was opened with bound to it."""
        key, context = self._key(archive_key)
        return suites.encrypt_body(key, context, content_key + self._circumstances)

    def unseal(self, sealed: bytes, archive_key: bytes) -> bytes:
        """Return the content key.

        Raises:
            UntrustedError: `BAD_CIPHERTEXT` under another archive key; `BAD_COMMITMENT` when the archive holds another
                directory, bundle or time than the message was opened with.
        """
        key, context = self._key(archive_key)
        plain = suites.decrypt_body(key, context, sealed)
        content_key, circumstances = plain[: suites.CONTENT_KEY_SIZE], plain[suites.CONTENT_KEY_SIZE :]
        if circumstances != self._circumstances:
            detail = "not the directory, bundle and time that it was opened with"
            raise error(Reason.BAD_COMMITMENT, field="archive", detail=detail)
        return content_key

    def _key(self, archive_key: bytes) -> tuple[bytes, bytes]:
        if len(archive_key) != suites.CONTENT_KEY_SIZE:
            raise error(Reason.STALE_BUNDLE, field="archive", detail="no archive key is held here")
        return suites.derive(archive_key, _LABEL, self.entry.digest), _LABEL + self.entry.digest

    @property
    def _circumstances(self) -> bytes:
        moment = wire.to_ms(self.entry.received_at).to_bytes(8, "big")
        return sha256(self.directory).digest() + sha256(self.bundle.raw).digest() + moment

    def directory_then(self) -> Directory:
        """Return the directory of the time; `unseal` has shown that it is the one the agency had verified."""
        dsse = Dsse.parse(self.directory, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
        return Directory.parse(self.directory, roots=Listing.parse(dsse.payload).roots)


class Archive(Protocol):
    """An agency's memory of what it has received.

    Every call is durable on return. Content keys come sealed and are kept apart from everything else. When `destroy`
    has returned, no file of the archive holds anything of a destroyed key, of the envelope's wraps or of its body; what
    a crash leaves half done is done again before anything else, and nothing counts as `unstated` before it is.
    """

    def keep(self, kept: Kept, sealed_key: bytes) -> None:
        """Keep a message; a repeat changes nothing, and one that was destroyed stays so."""

    def entries(self) -> Sequence[Entry]:
        """Return every line, oldest first."""

    def find(self, digest: bytes) -> Kept | None:
        """Return one message."""

    def sealed_key(self, digest: bytes) -> bytes:
        """Return the sealed content key of a message; nothing once it is destroyed."""

    def due(self, now: datetime) -> Sequence[bytes]:
        """Return the digests of messages past their retention whose keys are not destroyed."""

    def destroy(self, digests: Sequence[bytes], now: datetime) -> None:
        """Destroy content keys, and of each envelope everything but the manifest; unknown digests change nothing."""

    def unstated(self) -> Sequence[Entry]:
        """Return what is destroyed and was not stated to be so."""

    def stated(self, digests: Sequence[bytes]) -> None:
        """Record that the statement of a destruction is on its way."""
