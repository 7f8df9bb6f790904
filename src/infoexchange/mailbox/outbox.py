"""Outbox: how messages leave: checked, sealed, kept, and handed to the relay until it proves that it has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from infoexchange import catalogue, suites
from infoexchange.content import THREAD_ID_SIZE, Content
from infoexchange.draft import Draft
from infoexchange.envelope import Draught, Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.header import MESSAGE_ID_SIZE, Header
from infoexchange.listing import Party
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, Result
from infoexchange.states import Event, OpStatus, Precedence


class Outbox:
    """The sending side of a mailbox."""

    def __init__(self, desk: Desk) -> None:
        """Hold what both sides share."""
        self._desk = desk

    def send_all(self, drafts: Sequence[Draft]) -> list[Result]:
        """Return one receipt or error each; what `Mailbox.send_all` promises."""
        desk = self._desk
        now = desk.clock()
        desk.directory.check_current(now)
        ready: list[tuple[Draft, list[Party]] | ExchangeError] = []
        for draft in drafts:
            try:
                ready.append((draft, draft.recipients(desk.directory, desk.identity.name, now=now)))
            except ExchangeError as problem:
                ready.append(problem)
        names = [party.name for item in ready if isinstance(item, tuple) for party in item[1]]
        desk.keyring.learn(names, desk.relay)
        draughts: list[Draught | ExchangeError] = []
        standing = desk.spool.standing()
        sequence, previous = standing.sequence, standing.digest
        for item in ready:
            draught: Draught | ExchangeError
            try:
                if isinstance(item, ExchangeError):
                    raise item
                draught = self._draw_up(*item, sequence=sequence + 1, previous=previous, now=now)
                sequence, previous = sequence + 1, draught.digest
            except ExchangeError as problem:
                draught = problem
            draughts.append(draught)
        envelopes = Envelope.sign([item for item in draughts if isinstance(item, Draught)], desk.keys)
        desk.spool.put(envelopes)  # before any network use, so that a retry sends the same bytes
        results = self.submit([(e.digest, e.raw) for e in envelopes])
        return [results[item.digest] if isinstance(item, Draught) else item for item in draughts]

    def _draw_up(
        self, draft: Draft, parties: Sequence[Party], *, sequence: int, previous: bytes, now: datetime
    ) -> Draught:
        """Return a draft with everything an envelope has but its signature."""
        desk, handling = self._desk, catalogue.handling_of(draft.message)
        content = Content.make(
            catalogue.schema_of(draft.message),
            draft.message.SerializeToString(deterministic=True),
            entropy=desk.entropy,
            thread_id=draft.thread_id or desk.entropy(THREAD_ID_SIZE),
            in_reply_to=draft.in_reply_to,
            groups=draft.groups,
            addressees=tuple(sorted(set(draft.addressees))),
        )
        header = Header(
            suite=draft.suite.number,
            message_id=desk.entropy(MESSAGE_ID_SIZE),
            sender=desk.identity.name,
            sender_bundle=desk.newest.digest,
            recipients=(),
            op_status=OpStatus(handling.op_status),
            precedence=Precedence(handling.precedence),
            created_at=now,
            expires_at=now + draft.lifetime,
            sequence=sequence,
            previous=previous,
            content_commitment=b"",
            blind=draft.blind,
        )
        bundles = [desk.keyring.to_seal_to(party, draft.suite, desk.directory, now=now) for party in parties]
        return Envelope.draw_up(content, header, bundles, desk.entropy(suites.CONTENT_KEY_SIZE), entropy=desk.entropy)

    def flush(self) -> list[Result]:
        """Send again, byte for byte, what the outbox still keeps."""
        results: list[Result] = []
        while unsent := self._desk.spool.unsent(BATCH_MAX):
            found = self.submit([(sent.digest, sent.raw) for sent in unsent])
            results += found.values()
            if any(isinstance(result, UnavailableError) for result in found.values()):
                break
        return results

    def submit(self, items: Sequence[tuple[bytes, bytes]]) -> dict[bytes, Result]:
        """Return the result of each `(digest, raw)`, in frames of at most 256 envelopes or 4 MiB, and keep it."""
        found: dict[bytes, Result] = {}
        for frame in _frames(items):
            try:
                results: Sequence[Result] = self._desk.relay.submit([raw for _, raw in frame])
            except UnavailableError as problem:
                results = [problem] * len(frame)
            checked = [(digest, self._checked(digest, r)) for (digest, _), r in zip(frame, results, strict=True)]
            self._desk.spool.settle(checked)
            found.update(checked)
        return found

    def _checked(self, digest: bytes, result: Result) -> Result:
        """Return a result whose receipt proves that our relay accepted this envelope; else the error."""
        if isinstance(result, ExchangeError):
            return result
        try:
            result.verify(self._desk.directory)
            home = self._desk.directory.party(self._desk.identity.name, at=self._desk.clock()).relay
            about = (result.routing.event, result.routing.this_relay, result.subject.envelope_digest)
            if about != (Event.ACCEPTED, home, digest):
                raise error(Reason.BAD_PROOF, field="receipt", detail="not our relay's acceptance of this envelope")
        except ExchangeError as problem:
            # No refusal: the relay may have it, and a newer directory may show that. It stays in the outbox.
            why = f"a receipt that does not hold: {problem.reason.word}, {problem.detail}"
            return error(Reason.UNAVAILABLE, field="receipt", detail=why)
        return result


def _frames(items: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield runs of at most 256 envelopes or 4 MiB; a single envelope is always below that."""
    frame: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        if frame and (len(frame) == BATCH_MAX or size + len(item[1]) > BATCH_BYTES_MAX):
            yield frame
            frame, size = [], 0
        frame.append(item)
        size += len(item[1])
    if frame:
        yield frame
