"""Outbox: how messages leave: checked, sealed, kept, and handed to the relay until it proves that it has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from infoexchange import catalogue, suites
from infoexchange.attestation import Attestation, AttestationRole
from infoexchange.chunks import is_missing
from infoexchange.content import Content
from infoexchange.draft import Draft
from infoexchange.envelope import Along, Draught, Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.flows import Step
from infoexchange.listing import Party
from infoexchange.mailbox import threads
from infoexchange.mailbox.desk import Desk
from infoexchange.mailbox.enclosing import Enclosing
from infoexchange.mailbox.keks import Keks
from infoexchange.mailbox.references import check_to_send
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, Result, Standing
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.suites import Suite

Maker = Callable[[Standing], Draught]
"""Draws up an envelope that follows the newest one sealed."""


class Outbox:
    """The sending side of a mailbox."""

    def __init__(self, desk: Desk, keks: Keks) -> None:
        """Hold what both sides share."""
        self._desk = desk
        self._keks = keks
        self._enclosing = Enclosing(desk)
        self._steps: dict[bytes, Step] = {}  # of what is drawn up and not kept yet

    def send_all(self, drafts: Sequence[Draft]) -> list[Result]:
        """Return one receipt or error each; what `Mailbox.send_all` promises."""
        desk = self._desk
        now = desk.clock()
        desk.directory.check_current(now)
        ready: list[tuple[Draft, list[Party], Step | None] | ExchangeError] = []
        steps: list[Step] = []
        for draft in drafts:
            try:
                parties = draft.recipients(desk.directory, desk.identity.name, now=now)
                check_to_send(desk, draft.message, draft.in_reply_to)
                step = threads.planned(desk, draft, parties, len(steps))
                if step:
                    threads.check_fits(desk, step, draft.message, steps)
                    draft = threads.continued(desk, draft, step)
                    steps.append(step)
                ready.append((draft, parties, step))
            except ExchangeError as problem:
                ready.append(problem)
        desk.keyring.learn([party.name for item in ready if isinstance(item, tuple) for party in item[1]], desk.relay)
        makers = [item if isinstance(item, ExchangeError) else partial(self._draw_up, *item, now) for item in ready]
        return [result for result, _ in self.dispatch(makers)]

    def dispatch(self, makers: Sequence[Maker | ExchangeError]) -> list[tuple[Result, Envelope | None]]:
        """Return the result of each, with what was sealed, once all that could be drawn up is signed and handed over.

        Each is drawn up after the one before it, whose sequence number and name it carries.
        """
        desk = self._desk
        desk.turn()
        self._steps.clear()
        draughts: list[Draught | ExchangeError] = []
        after = desk.spool.standing()
        for maker in makers:
            if isinstance(maker, ExchangeError):
                draughts.append(maker)
                continue
            try:
                draught = maker(after)
            except UnavailableError:
                raise  # a disk of ours: no draft's fault, and nothing was sent
            except ExchangeError as problem:
                draughts.append(problem)
            else:
                after = Standing(after.sequence + 1, draught.digest)
                draughts.append(draught)
        envelopes = Envelope.sign([item for item in draughts if isinstance(item, Draught)], desk.keys)
        # Before any network use, so that a retry sends the same bytes.
        desk.spool.put(envelopes, [self._steps[e.digest] for e in envelopes if e.digest in self._steps])
        results = self.submit([(envelope.digest, envelope.raw) for envelope in envelopes])
        named = {envelope.digest: envelope for envelope in envelopes}
        return [
            (results[item.digest], named[item.digest]) if isinstance(item, Draught) else (item, None)
            for item in draughts
        ]

    def _draw_up(
        self, draft: Draft, parties: Sequence[Party], step: Step | None, now: datetime, after: Standing
    ) -> Draught:
        """Return a draft with everything an envelope has but its signature."""
        desk, handling = self._desk, catalogue.handling_of(draft.message)
        metas = self._enclosing.describe(draft.attachments)
        if draft.passed_on:
            draft.passed_on.check_attachments(metas)
        content, content_key = draft.content(metas, entropy=desk.entropy), desk.entropy(suites.CONTENT_KEY_SIZE)
        header = replace(
            desk.header(after, draft.suite, now, draft.lifetime),
            op_status=OpStatus(handling.op_status),
            precedence=Precedence(handling.precedence),
            blind=draft.blind,
        )
        if draft.attest:
            content = self._attested(content, header.message_id, draft, now)
        bundles = [desk.keyring.to_seal_to(party, draft.suite, desk.directory, now=now) for party in parties]
        recipients = bundles if draft.blind else [self._keks.instead_of(b, draft.suite, now) for b in bundles]
        along = Along(
            grant=draft.passed_on.grant if draft.passed_on else None,
            enclose=self._enclosing.sealing(draft.attachments, metas),
        )
        draught = Envelope.draw_up(content, header, recipients, content_key, entropy=desk.entropy, **along)
        if draft.passed_on:  # its sender cannot open it, and will be asked which way it came
            desk.spool.keep_origin(draught.digest, draft.passed_on.origin.raw)
        if step:
            self._steps[draught.digest] = threads.sealed(step, header, content, draught.digest)
        return draught

    def give_keks(self, names: Sequence[str], suite: Suite) -> list[Result]:
        """Return one receipt or error each; what `Mailbox.share_keks` promises."""
        desk = self._desk
        now = desk.clock()
        desk.directory.check_current(now)
        desk.keyring.learn(names, desk.relay)
        makers: list[Maker | ExchangeError] = []
        for name in names:
            try:
                party = desk.directory.party(name, at=now)
                bundle = desk.keyring.to_seal_to(party, suite, desk.directory, now=now)
            except ExchangeError as problem:
                makers.append(problem)
            else:
                makers.append(partial(self._keks.draw_up, bundle, suite, now))
        sent = self.dispatch(makers)
        self._keks.keep([envelope for _, envelope in sent if envelope])
        return [result for result, _ in sent]

    def _attested(self, content: Content, message_id: bytes, draft: Draft, now: datetime) -> Content:
        """Return content with the signatures that a draft asks for; each signer sees what all others sign."""
        desk = self._desk
        commitment = content.commitment(desk.identity.name, message_id)
        signed = [
            Attestation.sign(commitment, who, draft.suite, desk.newest, desk.keys, now=now)
            if isinstance(who, AttestationRole)
            else who(commitment, draft.suite)
            for who in draft.attest
        ]
        return content.attested(attestation.raw for attestation in signed)

    def flush(self, *, uploads: bool = True) -> list[Result]:
        """Send again, byte for byte, what the outbox still keeps; attachments after everything else."""
        later: dict[bytes, bytes] = {}
        results: dict[bytes, Result] = {}
        while True:
            unsent = self._desk.spool.unsent(BATCH_MAX + len(later))
            fresh = {sent.digest: sent.raw for sent in unsent if sent.digest not in later}
            found = self._hand_over(list(fresh.items()))
            results |= found
            later |= {digest: fresh[digest] for digest, result in found.items() if is_missing(result)}
            if any(isinstance(result, UnavailableError) and not is_missing(result) for result in found.values()):
                return list(results.values())
            if not fresh:
                break
        self._enclosing.forget_others(Envelope.parse(raw) for raw in later.values())
        if uploads:
            results |= self._carry(list(later.items()), results)
        return list(results.values())

    def submit(self, items: Sequence[tuple[bytes, bytes]]) -> dict[bytes, Result]:
        """Return the result of each `(digest, raw)`, and keep it; attachments are uploaded after everything else."""
        found = self._hand_over(items)
        return found | self._carry(items, found)

    def _carry(self, items: Sequence[tuple[bytes, bytes]], found: Mapping[bytes, Result]) -> dict[bytes, Result]:
        """Return the results of envelopes whose attachments the relay asks for, the most urgent first."""
        raws = [(digest, raw) for digest, raw in items if is_missing(found[digest])]
        results: dict[bytes, Result] = {}
        for digest, raw in sorted(raws, key=lambda item: -Envelope.parse(item[1]).header.precedence):
            try:
                self._enclosing.upload(Envelope.parse(raw))
            except ExchangeError as problem:
                results[digest] = problem
                self._settle([(digest, raw)], [(digest, problem)])
                if isinstance(problem, UnavailableError) and problem.reason is not Reason.OVERLOADED:
                    break  # the relay is away
            else:
                results |= self._hand_over([(digest, raw)])
        return results

    def _hand_over(self, items: Sequence[tuple[bytes, bytes]]) -> dict[bytes, Result]:
        """Return the result of each, in frames of at most 256 envelopes or 4 MiB, and keep it."""
        found: dict[bytes, Result] = {}
        for frame in _frames(items):
            try:
                results: Sequence[Result] = self._desk.relay.submit([raw for _, raw in frame])
            except UnavailableError as problem:
                results = [problem] * len(frame)
            checked = [(digest, self._checked(digest, r)) for (digest, _), r in zip(frame, results, strict=True)]
            self._settle(frame, checked)
            found.update(checked)
        return found

    def _settle(self, items: Sequence[tuple[bytes, bytes]], results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep results, and forget the ciphertext that nobody waits for any more."""
        carrying = self._enclosing.carrying(items)
        self._desk.spool.settle(results)
        self._enclosing.settle(carrying, results)

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
