"""Attacks by a recipient that passes on what is another's, and by relays on the grants that travel along.

Three agencies have it in turn: desk.oncb.th, which it is from, intel.c04.vn, and duty.guard.vn, which is hostile here
and may pass it on to desk.lcdc.la alone. It holds what it opened, its own keys, and one good grant.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from attacks.forging import changed
from attacks.scene import Letter, Scene, alike
from attacks.table import PASSES, Adversary, Answer, Judge, Shown, attack, everyone
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.node import Node
from infoexchange.suites import CLASSICAL, HYBRID_KEM, Suite
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from onward_case import DAY, OTHER, A, B, C, Case, D

HOLDER = Adversary.FELLOW
Judges = dict[Judge, Answer]
RELAYS = {Judge.OWN_RELAY: PASSES, Judge.PEER_RELAY: PASSES}  # which see neither marks nor the way that lies behind


@functools.cache
def case_of(suite: Suite) -> Case:
    """Three transfers in one suite."""
    return Case(suite)


@functools.cache
def evidence_of(suite: Suite) -> Evidence:
    """What the auditor gets of the third transfer, all in order."""
    return case_of(suite).proven()


@functools.cache
def relays_of(suite: Suite) -> tuple[Node, Node]:
    """The holder's relay and the recipient's, which know everybody's keys and no envelope."""
    exchange = case_of(suite).exchange
    nodes = exchange._node("relay.vn.example"), exchange._node("relay.la.example")
    for node in nodes:
        bundles = [exchange.community.members[name].bundle for name in (A, B, C)]
        someone = exchange.directory.party("relay.th.example", at=exchange.clock())
        node.commit([node.decide_bundle(someone, bundle) for bundle in bundles])
    return nodes


def passed_on(scene: Scene, *envelopes: Envelope) -> dict[Judge, Callable[[], object]]:
    """Put what the holder seals before its relay, the recipient's relay, the recipient and an auditor."""
    case, (own, peer) = case_of(scene.suite), relays_of(scene.suite)
    directory, now = case.exchange.directory, case.exchange.clock()

    def received(raw: bytes) -> Answer:
        box = case.handed(raw)
        delivered = list(box.receive())
        return box.refused[0].problem.reason if box.refused else PASSES if delivered else "nothing"

    def audited(raw: bytes) -> Answer:
        message = evidence_pb2.Evidence.FromString(evidence_of(scene.suite).raw)
        message.envelope, message.envelope_digest = raw, Envelope.parse(raw).digest
        del message.events[:], message.statements[:]
        found = Evidence.parse(message.SerializeToString(deterministic=True)).verify(directory, now=now)
        failed = [c.reason for c in found.checks if c.verdict is Verdict.TOTAL_FAILED]
        word = next(iter(failed), PASSES)
        return next((reason for reason in Reason if reason.word == word), word)

    raws = [envelope.raw for envelope in envelopes]
    return {
        Judge.OWN_RELAY: alike(raws, lambda raw: own.decide(directory.party(C, at=now), raw)),
        Judge.PEER_RELAY: alike(raws, lambda raw: peer.decide(directory.party("relay.vn.example", at=now), raw)),
        Judge.RECIPIENT: alike(raws, received),
        Judge.AUDITOR: alike(raws, audited),
    }


def under(scene: Scene, *grants: Grant) -> Shown:
    """The holder's own library is asked first; then the holder seals without it."""
    case = case_of(scene.suite)
    return {
        Judge.LIBRARY: alike(grants, lambda grant: case.boxes[C].pass_on(case.second, [D], grant=grant)),
        **passed_on(scene, *(case.seal(grant, case.origin()) for grant in grants)),
    }


def all_of_them(reason: Reason) -> Judges:
    """The same of the holder's library and of everybody."""
    return {**everyone(reason), Judge.LIBRARY: reason}


@attack(HOLDER, all_of_them(Reason.NOT_PERMITTED))
def grant_for_another_holder(scene: Scene, letter: Letter) -> Shown:
    """A recipient passes on under the grant that another agency was given."""
    return under(scene, case_of(scene.suite).signed(holder=B))


@attack(HOLDER, all_of_them(Reason.NOT_PERMITTED))
def grant_for_other_recipients(scene: Scene, letter: Letter) -> Shown:
    """A recipient passes on to an agency that its grant does not name."""
    return under(scene, case_of(scene.suite).signed(recipients=(OTHER,)))


@attack(HOLDER, {**everyone(Reason.BAD_COMMITMENT), **RELAYS, Judge.LIBRARY: Reason.NOT_PERMITTED})
def grant_for_another_message(scene: Scene, letter: Letter) -> Shown:
    """A recipient uses the grant for one message to pass on another, which only those who open it can see."""
    return under(scene, case_of(scene.suite).signed(origin=bytes(32)))


@attack(HOLDER, all_of_them(Reason.EXPIRED))
def grant_that_is_over(scene: Scene, letter: Letter) -> Shown:
    """A recipient passes on when its grant has ended."""
    case = case_of(scene.suite)
    now = case.exchange.clock()
    return under(scene, case.signed(granted_at=now - 2 * DAY, expires_at=now - DAY))


@attack(HOLDER, all_of_them(Reason.BAD_SIGNATURE))
def grant_forged(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs the originator's grant with its own key."""
    return under(scene, case_of(scene.suite).signed(C))


@attack(HOLDER, {**everyone(Reason.NOT_PERMITTED), **RELAYS, Judge.LIBRARY: Reason.NOT_PERMITTED})
def grant_to_oneself(scene: Scene, letter: Letter) -> Shown:
    """A recipient grants in its own name, as if it were the originator; the way inside shows who is."""
    case = case_of(scene.suite)
    own = case.exchange.community.members[C].bundle.digest
    return under(scene, case.signed(C, originator=C, originator_bundle=own))


@attack(HOLDER, {**everyone(Reason.SUITE_NOT_ACCEPTED), **RELAYS, Judge.LIBRARY: Reason.SUITE_NOT_ACCEPTED})
def grant_in_another_suite(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows a grant in another suite than the original's, whose signature it could forge one day."""
    other = HYBRID_KEM if scene.suite is not HYBRID_KEM else CLASSICAL
    return under(scene, case_of(scene.suite).signed(suite=other.number))


@attack(
    HOLDER,
    {
        **RELAYS,
        Judge.RECIPIENT: Reason.NOT_PERMITTED,
        Judge.LIBRARY: Reason.NOT_PERMITTED,
    },
)
def passed_on_undeclared(scene: Scene, letter: Letter) -> Shown:
    """A recipient passes on and names no grant, so that no relay sees that it does; the recipient's refusal tells."""
    case = case_of(scene.suite)
    shown = passed_on(scene, case.seal(None, case.origin()))
    return {
        Judge.LIBRARY: lambda: case.boxes[C].pass_on(case.second, [OTHER]),
        **{judge: call for judge, call in shown.items() if judge is not Judge.AUDITOR},
    }


@attack(HOLDER, {**RELAYS, Judge.RECIPIENT: Reason.BAD_COMMITMENT})
def other_content_under_anothers_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient changes what it passes on, or leaves out or exchanges the way it has come; the name stays."""
    case = case_of(scene.suite)
    other = officer_acknowledgement(purpose="another exercise").SerializeToString(deterministic=True)
    retyped = case.seal(case.grant, case.origin(), payload=other)
    shown = passed_on(scene, retyped, case.seal(case.grant, None))
    return {judge: call for judge, call in shown.items() if judge is not Judge.AUDITOR}


@attack(Adversary.RELAY, everyone(Reason.NOT_PERMITTED))
def grant_stripped(scene: Scene, letter: Letter) -> Shown:
    """A relay strips the grant that the header names; it wants the holder to look like a thief."""
    case = case_of(scene.suite)
    bare = Envelope.parse(changed(case.seal(case.grant, case.origin()).raw, lambda m: m.ClearField("grant")))
    return passed_on(scene, bare)


@attack(Adversary.RELAY, everyone(Reason.BAD_SIGNATURE))
def grant_exchanged(scene: Scene, letter: Letter) -> Shown:
    """A relay puts in another grant of the same originator to the same holder, or spoils the signature of the right."""
    case = case_of(scene.suite)
    raw, other = case.seal(case.grant, case.origin()).raw, case.signed(recipients=(D, OTHER))
    return passed_on(scene, Envelope.parse(changed(raw, lambda m: setattr(m, "grant", other.raw))))
