"""Messages: sealing, verifying, opening and acknowledging, with everything parsed from bytes."""

from __future__ import annotations

from bench.measure import Effort, Result, Step
from bench.primitives import Costs
from bench.world import RECIPIENTS, World
from infoexchange import catalogue
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.envelope import Envelope
from infoexchange.states import Event
from infoexchange.suites import HYBRID, SUITES, Suite

_BATCH = 64  # envelopes under one signature


def note(number: int = 0) -> catalogue.OfficerAcknowledgement:
    """Return a message that rules and domains let pass."""
    handling = catalogue.Handling(
        op_status=catalogue.OP_STATUS_EXERCISE,
        precedence=catalogue.PRECEDENCE_ROUTINE,
        tlp=catalogue.TLP_AMBER,
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=f"measurement {number}",
        domain=catalogue.DOMAIN_PIRACY,
    )
    return catalogue.OfficerAcknowledgement(handling=handling, of=bytes(range(32)), level=1)


def _suite(world: World, suite: Suite, effort: Effort, costs: Costs, step: Step) -> list[Result]:
    rows: list[Result] = []
    for count in (1, 3, 12):
        with step(f"seal in {suite.name} for {count}"):
            seconds = effort.time(lambda n=count: world.seal(suite, RECIPIENTS[:n]))
        rows.append(Result("message", f"seal {suite.name} for {count}", seconds, costs.seal(suite, count)))
    directory, now = world.exchange.directory, world.exchange.clock()
    raw, sender = world.seal(suite, RECIPIENTS[:1]).raw, world.sender.bundle
    recipient = world.members[RECIPIENTS[0]]
    own = {recipient.bundle.digest: recipient.bundle}
    envelope = Envelope.parse(raw)
    statement = Statement(
        envelope_digest=envelope.digest,
        issuer=recipient.name,
        issuer_bundle=recipient.bundle.digest,
        state=Event.OPENED,
        at=now,
        content_commitment=envelope.header.content_commitment,
    )
    keys = recipient.identity.epochs[0]
    with step(f"verify, open and acknowledge in {suite.name}"):
        verify = effort.time(lambda: Envelope.parse(raw).verify(directory, sender, now=now))
        opened = effort.time(lambda: Envelope.parse(raw).open(recipient.identity, own, directory, sender, now=now))
        signed = effort.time(lambda: Acknowledgement.sign(statement, suite, keys))
    cost = costs.suites[suite.number]
    rows += [
        Result("message", f"verify {suite.name}", verify, cost.verify),
        Result("message", f"open {suite.name}", opened, costs.open(suite)),
        Result("message", f"acknowledge {suite.name}", signed, cost.sign),
    ]
    return rows


def _shared(world: World, suite: Suite, effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return what epoch KEKs and one signature for many save, beside what the bare algorithms take."""
    rows, cost = [], costs.suites[suite.number]
    sizes = [len(world.seal(suite, RECIPIENTS[:count], keks=True).raw) for count in (1, 12)]
    each = (sizes[1] - sizes[0]) // 11
    for count in (1, 12):
        with step(f"seal in {suite.name} for {count} with epoch KEKs"):
            seconds = effort.time(lambda n=count: world.seal(suite, RECIPIENTS[:n], keks=True))
        name = f"seal {suite.name} for {count}, epoch KEKs of {each} bytes"
        rows.append(Result("message", name, seconds, cost.sign + costs.encrypt))
    draughts = [world.draw_up(suite, RECIPIENTS[0]) for _ in range(_BATCH)]
    with step(f"sign {_BATCH} at once in {suite.name}"):
        seconds = effort.time(lambda: world.sign(draughts)) / _BATCH
    rows.append(Result("message", f"sign {suite.name}, one of {_BATCH}", seconds, cost.sign))
    return rows


def measure(effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return the rows."""
    world = World()
    rows = [row for suite in SUITES.values() for row in _suite(world, suite, effort, costs, step)]
    return rows + _shared(world, HYBRID, effort, costs, step)
