"""Keks: the epoch KEKs that an agency gives out and those it was given (SPEC section Envelope).

Kept are the envelopes that brought them, not the KEKs: each is made again from a private key of its epoch when it is
needed, so that nothing secret is added to the disk, and destroying an epoch's keys destroys its KEKs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infoexchange import suites
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.envelope import Draught, Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import Notified, Standing
from infoexchange.states import Event, OpStatus
from infoexchange.suites import Suite
from infoexchange.wrap import EPOCH_KEK_NOTICE, EpochKek

# Specification constants
_CONTENT_KEY_LABEL = b"infoexchange/v1/epoch-kek-content\x00"


class Keks:
    """Both sides of sharing epoch KEKs."""

    def __init__(self, desk: Desk) -> None:
        """Hold what sending and receiving share."""
        self._desk = desk
        self._received: dict[bytes, EpochKek] = {}
        self._ready: dict[tuple[bytes, int], EpochKek] | None = None

    # Given out

    def draw_up(self, bundle: KeyBundle, suite: Suite, now: datetime, after: Standing) -> Draught:
        """Return an envelope that brings a new KEK to the owner of a bundle."""
        desk = self._desk
        header = desk.header(after, suite, now, LIFETIME_DEFAULT)
        notice = EpochKek.notice(min(bundle.not_after, desk.newest.not_after))
        content = Content.make(EPOCH_KEK_NOTICE, notice, entropy=desk.entropy)
        return Envelope.draw_up(content, header, [bundle], self._content_key(header), entropy=desk.entropy)

    def _content_key(self, header: Header) -> bytes:
        """Return the content key of such an envelope, which its sender makes again while its epoch lasts."""
        keys = self._desk.own[header.sender_bundle].keys_in(self._desk.identity)
        return suites.derive(keys.wrapping, _CONTENT_KEY_LABEL, header.message_id)

    def keep(self, envelopes: Sequence[Envelope]) -> None:
        """Keep envelopes that bring KEKs; these serve once their recipients have stated that they hold them."""
        for envelope in envelopes:
            content_key = self._content_key(envelope.header)
            not_after = EpochKek.noticed(envelope.read(content_key).payload)
            kek = _brought(envelope, content_key, not_after)
            self._desk.spool.note_kek(
                Notified(kek.name, kek.recipient, given=True, ready=False, not_after=not_after, raw=envelope.raw)
            )

    def instead_of(self, bundle: KeyBundle, suite: Suite, now: datetime) -> KeyBundle | EpochKek:
        """Return the KEK that serves in the place of a bundle, or the bundle."""
        if self._ready is None:
            self._ready = {}
            for row in self._desk.spool.keks():
                envelope = Envelope.parse(row.raw)
                if row.given and row.ready and envelope.header.sender_bundle == self._desk.newest.digest:
                    kek = _brought(envelope, self._content_key(envelope.header), row.not_after)
                    self._ready[envelope.wraps[0].bundle, kek.suite] = kek
        found = self._ready.get((bundle.digest, suite.number))
        return found if found and now <= found.not_after else bundle

    def ask(self) -> int:
        """Look which KEKs given out are held by their recipients now; return how many have become ready."""
        found = 0
        for row in self._desk.spool.keks():
            if row.given and not row.ready and self._is_held(Envelope.parse(row.raw)):
                self._desk.spool.note_kek(replace(row, ready=True))
                found += 1
        self._ready = None
        return found

    def _is_held(self, envelope: Envelope) -> bool:
        """Whether the recipient has signed that it opened the envelope."""
        desk, header = self._desk, envelope.header
        [recipient] = header.recipients
        try:
            statements = desk.relay.events(envelope.digest).statements
            bundles = {bundle.digest: bundle for bundle in desk.relay.bundles([recipient.name])}
        except ExchangeError:
            return False  # asked again with the next refresh
        for raw in statements:
            try:
                acknowledgement = Acknowledgement.parse(raw)
                said = acknowledgement.statement
                about = (said.envelope_digest, said.issuer, said.state, said.content_commitment)
                if about == (envelope.digest, recipient.name, Event.OPENED, header.content_commitment):
                    acknowledgement.verify(desk.directory, bundles[said.issuer_bundle], suites.suite_of(header.suite))
                    return True
            except (ExchangeError, KeyError):
                continue  # not the recipient's word, or not to be proven yet
        return False

    # Received

    def take(self, envelope: Envelope, content: Content) -> None:
        """Keep an envelope, verified and opened, that brings a KEK.

        Raises:
            MalformedError: `BAD_FIELD` when it is addressed to several or is no traffic of the system.
        """
        header = envelope.header
        if header.op_status is not OpStatus.SYSTEM or len(header.recipients) != 1 or len(envelope.wraps) != 1:
            raise error(Reason.BAD_FIELD, field="header.recipients", detail="a KEK is for one recipient alone")
        not_after = EpochKek.noticed(content.payload)
        name = EpochKek.name_of(envelope.wraps[0])
        row = Notified(name, header.sender, given=False, ready=True, not_after=not_after, raw=envelope.raw)
        self._desk.spool.note_kek(row)

    def needed(self, envelope: Envelope) -> dict[bytes, EpochKek]:
        """Return the KEK that an envelope was sealed with for this agency, if there is one and it is held."""
        shared = envelope.manifest.epoch_wrap_of(self._desk.identity.name)
        if shared is None:
            return {}
        name, _ = shared
        if name not in self._received:
            for row in self._desk.spool.keks():
                if row.name == name and not row.given:
                    self._received[name] = self._again(Envelope.parse(row.raw), row.not_after)
        return {name: self._received[name]} if name in self._received else {}

    def _again(self, envelope: Envelope, not_after: datetime) -> EpochKek:
        """Return the KEK of an envelope that was verified and opened when it came."""
        [wrap] = envelope.wraps
        bundle = self._desk.own[wrap.bundle]
        suite = suites.suite_of(envelope.header.suite)
        keys = bundle.keys_in(self._desk.identity)
        return _brought(envelope, wrap.unwrap(keys, bundle, suite, envelope.manifest.header_digest), not_after)


def _brought(envelope: Envelope, content_key: bytes, not_after: datetime) -> EpochKek:
    header, [wrap] = envelope.header, envelope.wraps
    return EpochKek.brought(
        wrap,
        content_key,
        envelope.manifest.header_digest,
        sender=header.sender,
        suite=header.suite,
        not_after=not_after,
    )
