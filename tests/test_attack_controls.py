"""What nobody touched passes at everybody who refuses the attacks, so that each refusal is due to the attack alone."""

from __future__ import annotations

import pytest

from attacks import (
    agency_keys,
    disclosures,
    epochs,
    fellow,
    forging,
    onward,
    recalls,
    relay_bulletin,
    relay_receipts,
    uploads,
)
from attacks.scene import RECIPIENTS, Scene, answer_of
from attacks.table import PASSES, Judge, Kind, Shown
from conftest import EVERY_SUITE, RECIPIENT, SECOND, SENDER
from infoexchange.envelope import Envelope
from infoexchange.v1 import evidence_pb2
from test_attacks import scene_of


@pytest.fixture(params=EVERY_SUITE, ids=lambda suite: suite.name)
def scene(request: pytest.FixtureRequest) -> Scene:
    return scene_of(request.param)


def all_pass(shown: Shown) -> None:
    assert {judge: answer_of(call) for judge, call in shown.items()} == dict.fromkeys(shown, PASSES)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_the_letters(scene: Scene, kind: Kind) -> None:
    letter = scene.letters[kind]
    all_pass(scene.shown(letter.raw))
    for name in {r.name for r in letter.envelope.header.recipients} or set(RECIPIENTS):
        assert scene.delivered(name, letter.envelope.prune({name}).raw) == PASSES
    # What the sender's evidence says of it, once everybody has witnessed.
    message = evidence_pb2.Evidence.FromString(scene.evidence(letter).raw)
    for name in RECIPIENTS[: 1 if kind is Kind.SINGLE else 3]:
        assert scene.judged(message, f"outcome for {name}") == PASSES
    assert scene.judged(message, "checkpoints witnessed") == PASSES


def test_what_is_forged_with_nothing_wrong(scene: Scene) -> None:
    said = forging.content()
    all_pass(scene.shown(forging.sealed(scene, forging.header(scene, said, to=[RECIPIENT, SECOND]), said)))
    head = forging.header(scene, said)
    wrap = forging.wrap(scene, head, RECIPIENT)
    all_pass(scene.shown(forging.signed(scene, head, [wrap], forging.body_of(head, said.raw))))
    all_pass(scene.shown(agency_keys.under_kek(scene, agency_keys.kek_of(scene, RECIPIENT, RECIPIENT))))
    mine = Envelope.parse(forging.sealed(scene, head, said))
    first, _ = agency_keys.batched([mine.manifest.dsse.payload] * 2, scene.keys(SENDER), scene.suite)
    all_pass(scene.shown(forging.changed(mine.raw, lambda m: m.manifest.CopyFrom(first.to_wire()))))


def test_receipts_and_entries(scene: Scene) -> None:
    letter = scene.letters[Kind.SINGLE]
    all_pass(relay_receipts.shown(scene, letter, lambda receipt: receipt))
    entry = relay_receipts.logged(scene, relay_receipts.PEER, letter, relay_receipts.Event.DELIVERED, RECIPIENT)
    all_pass(relay_receipts.audited(scene, letter, entry))


def test_statements(scene: Scene) -> None:
    letter = scene.letters[Kind.SEVERAL]
    all_pass(fellow.stated(scene, letter, fellow.made(scene, fellow.said(scene, letter), RECIPIENT)))


def test_bundles(scene: Scene) -> None:
    all_pass(relay_bulletin.handed_out(scene, scene.bundle(RECIPIENT)))
    all_pass(relay_bulletin.handed_out(scene, epochs.second(scene, RECIPIENT).bundle))
    all_pass(relay_bulletin.handed_out(scene, epochs.second(scene, RECIPIENT, withdraw=True).bundle))
    all_pass(agency_keys.presented(scene, lambda: agency_keys.issued(scene, lambda message: None)))


def test_directories(scene: Scene) -> None:
    ceremony = relay_bulletin.Ceremony(scene)
    second = ceremony.signed(ceremony.after(ceremony.first))
    third = ceremony.signed(ceremony.after(ceremony.first.succeed(second)))
    all_pass(relay_bulletin.offered(scene, ceremony.first, second))
    all_pass(relay_bulletin.offered(scene, ceremony.first, ceremony.first.raw, second, third))


def test_what_is_passed_on_with_consent(scene: Scene) -> None:
    case = onward.case_of(scene.suite)
    all_pass(onward.passed_on(scene, case.seal(case.grant, case.origin())))
    assert Judge.LIBRARY in onward.under(scene, case.grant)


def test_attachments(scene: Scene) -> None:
    enclosed = uploads.honest(scene)
    all_pass(uploads.taken(scene, enclosed))
    assert uploads.read(scene, enclosed) == PASSES


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_disclosures(scene: Scene, kind: Kind) -> None:
    letter = scene.letters[kind]
    file, raw = disclosures.disclosed(scene, letter).raw, disclosures.approval(scene, letter)
    all_pass(disclosures.shown(scene, letter, file, approvals=[raw], check="disclosure 1 approved"))
    all_pass(disclosures.logged_at_peer(scene, letter, raw))


def test_attestations(scene: Scene) -> None:
    all_pass(disclosures.attested(scene, lambda said: disclosures.attestation(scene, said)))


def test_recall_orders(scene: Scene) -> None:
    letter = scene.letters[Kind.SINGLE]
    all_pass(recalls.given(scene, letter, recalls.order(scene, letter)))
