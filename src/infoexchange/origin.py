"""Origin: what makes passed-on content the originator's still (SPEC section Origin).

It describes the envelope from which the content was taken, so that whoever gets the content later makes that envelope's
commitment again from the bytes in hand and checks the signature over it: what came is what was sealed. Passed on
further, it stands inside the next one, back to the originator's own envelope, whose payload is never sealed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.receipt import Receipt
from infoexchange.transfer import TRANSFERS_MAX, Transfer, replay
from infoexchange.v1 import bundle_pb2, content_pb2

# Specification constants
ORIGIN_SIZE_MAX = 512 * 1024  # eight transfers, each with keys of its sender and a cosigned receipt
ORIGIN_BUNDLES_MAX = 4  # of the sender, of two grants, and room
ORIGIN_RECEIPT_MAX = 48 * 1024  # one with the cosignatures of twelve nations is below 45 KiB
ORIGIN_LISTS_MAX = 32 * 1024  # of revocation lists with one bundle; longer ones are looked up, not carried


@dataclass(frozen=True)
class Origin:
    """The envelope that passed-on content came in; nothing of it is trusted before `verify`."""

    raw: bytes = field(repr=False)
    transfer: Transfer
    content: bytes = field(repr=False)
    bundles: tuple[KeyBundle, ...] = field(repr=False)
    before: Origin | None = None

    @classmethod
    def make(
        cls,
        envelope: Envelope,
        content: Content,
        holder: str,
        bundles: Sequence[KeyBundle],
        accepted: Receipt | None = None,
    ) -> Origin:
        """Return the origin of what is passed on from an envelope that was received and opened.

        Args:
            envelope: As it came.
            content: As it was opened; if that was passed on already, its origin becomes the step before.
            holder: Who received it and passes it on.
            bundles: Those that signed the envelope, its grant, and the grant for passing it on now.
            accepted: The acceptance by its sender's relay, for auditors; left out where it is too long.

        Raises:
            RefusedError: `TOO_LARGE` when it has been through too many hands.
        """
        before = Origin.parse(content.origin) if content.origin else None
        held = before.every_bundle if before else {}
        new = {bundle.digest: bundle for bundle in bundles if bundle.digest not in held}
        shown = [wrap.raw for wrap in envelope.wraps if envelope.header.blind and wrap.recipient == holder]
        message = content_pb2.Origin(
            manifest=envelope.manifest.raw,
            content=content.bare,
            grant=envelope.grant.raw if envelope.grant else b"",
            accepted=accepted.raw if accepted and len(accepted.raw) <= ORIGIN_RECEIPT_MAX else b"",
            bundles=[_signed(bundle) for bundle in sorted(new.values(), key=lambda bundle: bundle.raw)],
            wrap=b"".join(shown),
        )
        return cls.parse(wire.canonical(message))

    @classmethod
    def parse(cls, raw: bytes) -> Origin:
        """Return the origin of canonical bytes, with all steps before it.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            UntrustedError: `BAD_COMMITMENT`, as `Transfer.parse`.
            RefusedError: `TOO_LARGE`.
        """
        return cls._parse(raw, TRANSFERS_MAX)

    @classmethod
    def _parse(cls, raw: bytes, most: int) -> Origin:
        # (1) canonical forms of every part, at every depth
        if most < 1:
            step = "Ask the originator for it: what it sends itself comes by the shortest way."
            detail = f"passed on more than {TRANSFERS_MAX} times"
            raise error(Reason.TOO_LARGE, field="origin", detail=detail, next_step=step)
        m = wire.parse(content_pb2.Origin, raw, size_max=ORIGIN_SIZE_MAX, field="origin")
        if len(m.bundles) > ORIGIN_BUNDLES_MAX:
            raise error(Reason.TOO_LARGE, field="origin.bundles", detail=f"{len(m.bundles)} bundles")
        wire.check_ascending([bundle.bundle for bundle in m.bundles], field="origin.bundles")
        if len(m.accepted) > ORIGIN_RECEIPT_MAX:
            raise error(Reason.TOO_LARGE, field="origin.accepted", detail=f"{len(m.accepted)} bytes")
        bundles = tuple(_bundle(bundle) for bundle in m.bundles)
        transfer = Transfer.parse(m.manifest, m.grant, m.accepted, m.wrap)
        inner = Content.rebuild(m.content, b"").origin
        return cls(raw, transfer, m.content, bundles, cls._parse(inner, most - 1) if inner else None)

    def __iter__(self) -> Iterator[Origin]:
        """Give this step, the one before it, and so on to the originator's."""
        step: Origin | None = self
        while step:
            yield step
            step = step.before

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """Every transfer before the envelope at hand, the originator's first."""
        return tuple(step.transfer for step in self)[::-1]

    @property
    def original(self) -> Transfer:
        """The originator's own envelope."""
        return self.transfers[0]

    @property
    def addressees(self) -> tuple[str, ...]:
        """Agencies to which the originator itself asked the recipients of its own envelope to pass it on."""
        return Content.rebuild(list(self)[-1].content, b"").addressees

    @property
    def every_bundle(self) -> Mapping[bytes, KeyBundle]:
        """The bundles of all steps by digest."""
        return {bundle.digest: bundle for step in self for bundle in step.bundles}

    def verify(self, envelope: Envelope, content: Content, directory: Directory) -> tuple[Transfer, ...]:
        """Return every transfer, that of `envelope` last, once the whole way has been checked.

        Spec: section Origin, steps 2 to 6. Whether the marks allow the way is asked of `onward`.

        Args:
            envelope: Verified, and opened to `content`.
            content: What it held; the payload of every step is its payload.
            directory: Who is who.

        Raises:
            UntrustedError: `BAD_COMMITMENT`, `BAD_SIGNATURE`, and whatever a bundle is refused for.
            RefusedError: `NOT_PERMITTED`, `NOT_YET_VALID`, `EXPIRED`, `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        # (2) the payload at hand is what every sender on the way committed to; attachments may be left out, none put in
        held = {meta.file for meta in content.attachments}
        for step in self:
            header, sealed = step.transfer.header, Content.rebuild(step.content, content.payload)
            commitment = sealed.commitment(header.sender, header.message_id)
            if sealed.schema != content.schema or commitment != header.content_commitment:
                detail = f"not the content that {header.sender} signed"
                raise error(Reason.BAD_COMMITMENT, field="origin.content", detail=detail)
            given = {meta.file for meta in sealed.attachments}
            if not held <= given:
                detail = f"an attachment that {header.sender} did not send"
                raise error(Reason.BAD_COMMITMENT, field="content.attachments", detail=detail)
            held = given
        transfers = (*self.transfers, Transfer.of(envelope))
        replay(transfers, directory, self.every_bundle)
        return transfers


def _signed(bundle: KeyBundle) -> bundle_pb2.SignedBundle:
    crls = bundle.crls if sum(map(len, bundle.crls)) <= ORIGIN_LISTS_MAX else ()
    return bundle_pb2.SignedBundle(bundle=bundle.raw, certificates=bundle.certificates, crls=crls)


def _bundle(message: bundle_pb2.SignedBundle) -> KeyBundle:
    if sum(map(len, message.crls)) > ORIGIN_LISTS_MAX:
        raise error(Reason.TOO_LARGE, field="origin.bundles.crls", detail=f"at most {ORIGIN_LISTS_MAX} bytes")
    return KeyBundle.parse(message.bundle, message.certificates, message.crls)
