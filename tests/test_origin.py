"""Origin: the format that keeps passed-on content its originator's, and the marks that decide whether it may go on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from infoexchange import catalogue
from infoexchange.content import CONTENT_SIZE_MAX, Content
from infoexchange.errors import ExchangeError, Reason
from infoexchange.onward import consent_needed
from infoexchange.origin import ORIGIN_LISTS_MAX, ORIGIN_RECEIPT_MAX, ORIGIN_SIZE_MAX, Origin
from infoexchange.testing import Exchange
from infoexchange.transfer import TRANSFERS_MAX
from infoexchange.v1 import content_pb2, envelope_pb2
from messages import handling, officer_acknowledgement
from onward_case import DAY, OTHER, A, B, C, Case, D, free, one, reason_of

PAYLOAD = officer_acknowledgement().SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def changed(origin: Origin, change: Callable[[content_pb2.Origin], object]) -> bytes:
    message = content_pb2.Origin.FromString(origin.raw)
    change(message)
    return message.SerializeToString(deterministic=True)


# Content without its payload


@pytest.mark.parametrize("count", [0, 1, 3, 9, 130, 10_000])
def test_content_is_rebuilt_from_what_is_left_of_it(count: int) -> None:
    payload = b"\x0a\x05hello" * count
    origin = b"\x0a\x01x"
    content = Content.make("a.B", payload, thread_id=bytes(16), in_reply_to=bytes(32), origin=origin)
    again = Content.rebuild(content.bare, payload)
    assert (again, again.raw) == (content, content.raw)
    assert len(content.bare) < 200
    assert content.records[-1] == b"O" + origin


def test_what_is_left_has_neither_payload_nor_padding() -> None:
    content = Content.make("a.B", PAYLOAD)
    for field in ("payload", "padding"):
        message = content_pb2.Content.FromString(content.bare)
        setattr(message, field, b"\x00")
        raw = message.SerializeToString(deterministic=True)
        assert reason_of(lambda raw=raw: Content.rebuild(raw, PAYLOAD)) is Reason.BAD_FIELD
    assert reason_of(lambda: Content.rebuild(content.bare + b"\x7a\x00", PAYLOAD)) is Reason.NOT_CANONICAL
    assert reason_of(lambda: Content.rebuild(content.bare, bytes(CONTENT_SIZE_MAX))) is Reason.TOO_LARGE
    assert reason_of(lambda: Content.make("a.B", PAYLOAD, origin=bytes(CONTENT_SIZE_MAX))) is Reason.TOO_LARGE


def test_the_origin_is_committed_to() -> None:
    plain = Content.make("a.B", PAYLOAD)
    with_origin = replace(plain, origin=b"\x0a\x01x")
    assert plain.commitment(A, bytes(16)) != with_origin.commitment(A, bytes(16))
    assert with_origin.commitment(A, bytes(16)) != replace(plain, origin=b"\x0a\x01y").commitment(A, bytes(16))
    assert b"O" not in {record[:1] for record in plain.records}


# The format


def test_it_describes_every_step(case: Case) -> None:
    origin = Origin.parse(case.origin().raw)
    assert [step.transfer.sender for step in origin] == [B, A]
    assert [t.sender for t in origin.transfers] == [A, B]
    assert origin.original.digest == case.first.digest
    assert {bundle.owner for bundle in origin.every_bundle.values()} == {A, B, C}
    inner = origin.before
    assert inner is not None
    assert [bundle.owner for bundle in inner.bundles] == [A]  # held once, where it is needed first


def test_the_payload_is_sealed_once_however_often_it_is_passed_on(case: Case) -> None:
    marker = officer_acknowledgement().of
    assert marker in case.second.content.payload
    assert case.second.content.raw.count(marker) == 1
    assert marker not in case.origin().raw


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.ClearField("manifest"), Reason.BAD_FIELD),
        (lambda m: m.ClearField("content"), Reason.BAD_FIELD),
        (lambda m: m.ClearField("grant"), Reason.BAD_COMMITMENT),
        (lambda m: setattr(m, "manifest", m.grant), Reason.BAD_FIELD),
        (lambda m: setattr(m, "grant", m.manifest), Reason.BAD_FIELD),
        (lambda m: setattr(m, "accepted", b"junk"), Reason.MALFORMED),
        (lambda m: setattr(m, "accepted", bytes(ORIGIN_RECEIPT_MAX + 1)), Reason.TOO_LARGE),
        (lambda m: m.bundles.append(m.bundles[0]), Reason.BAD_FIELD),
        (lambda m: m.bundles[0].ClearField("bundle"), Reason.BAD_FIELD),
        (lambda m: m.bundles[0].crls.append(bytes(ORIGIN_LISTS_MAX)), Reason.TOO_LARGE),
        (lambda m: m.bundles.extend([m.bundles[0]] * 4), Reason.TOO_LARGE),
        (lambda m: setattr(m, "content", m.content + b"\x7a\x00"), Reason.NOT_CANONICAL),
        (lambda m: setattr(m, "accepted", bytes(ORIGIN_SIZE_MAX)), Reason.TOO_LARGE),
    ],
)
def test_forms_that_are_refused(case: Case, change: Callable[[content_pb2.Origin], object], reason: Reason) -> None:
    raw = changed(case.origin(), change)
    assert reason_of(lambda: Origin.parse(raw)) is reason
    # A recipient says so, signed: it was the sender that sealed it.
    box = case.handed(case.seal(case.grant, raw).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[:1]] == [(reason, True)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.ClearField("bundles"), Reason.STALE_BUNDLE),
        (lambda m: m.bundles[0].ClearField("certificates"), Reason.BAD_CERTIFICATE),
        (lambda m: spoil_signature(m), Reason.BAD_SIGNATURE),
        (lambda m: other_salt(m), Reason.BAD_COMMITMENT),
        (lambda m: other_schema(m), Reason.BAD_COMMITMENT),
        (lambda m: no_step_before(m), Reason.BAD_COMMITMENT),
    ],
)
def test_what_does_not_hold_is_refused(case: Case, change: Callable[..., object], reason: Reason) -> None:
    raw = changed(case.origin(), change)
    box = case.handed(case.seal(case.grant, raw).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[:1]] == [(reason, True)]


def spoil_signature(message: content_pb2.Origin) -> None:
    manifest = envelope_pb2.Dsse.FromString(message.manifest)
    manifest.signatures[0].sig = bytes(len(manifest.signatures[0].sig))
    message.manifest = manifest.SerializeToString(deterministic=True)


def other_salt(message: content_pb2.Origin) -> None:
    content = content_pb2.Content.FromString(message.content)
    content.salt_seed = bytes(32)
    message.content = content.SerializeToString(deterministic=True)


def other_schema(message: content_pb2.Origin) -> None:
    content = content_pb2.Content.FromString(message.content)
    content.schema = "infoexchange.catalogue.v1.IndicatorSet"
    message.content = content.SerializeToString(deterministic=True)


def no_step_before(message: content_pb2.Origin) -> None:
    content = content_pb2.Content.FromString(message.content)
    content.ClearField("origin")
    message.content = content.SerializeToString(deterministic=True)


def test_a_long_receipt_and_long_lists_are_left_out(case: Case) -> None:
    bundle = case.exchange.community.members[B].bundle
    long = replace(bundle, crls=(bytes(ORIGIN_LISTS_MAX + 1),))
    receipt = case.boxes[C].relay.events(case.second.digest).events[0]
    longer = replace(receipt, raw=bytes(ORIGIN_RECEIPT_MAX + 1))
    origin = Origin.make(case.second.envelope, case.second.content, C, [long], longer)
    assert (origin.bundles[0].crls, origin.transfer.accepted) == ((), None)
    origin = Origin.make(case.second.envelope, case.second.content, C, [bundle], receipt)
    assert origin.transfer.accepted == receipt


def test_eight_transfers_and_no_more() -> None:
    """To and fro between two agencies, until nobody takes it any more."""
    exchange = Exchange({"th": ["desk.oncb"], "vn": ["intel.c04"]})
    boxes = [exchange.mailbox(name) for name in (A, B)]
    names = (A, B)
    boxes[0].send(officer_acknowledgement(**free()), [B])
    for count in range(1, TRANSFERS_MAX + 1):
        holder = count % 2
        delivery = one(boxes[holder])
        assert len(delivery.chain) == count
        boxes[holder].pass_on(delivery, [names[1 - holder]])
    last = one(boxes[(TRANSFERS_MAX + 1) % 2])
    assert len(last.chain) == TRANSFERS_MAX + 1
    assert {t.sender for t in last.chain} == {A, B}
    with pytest.raises(ExchangeError) as caught:
        boxes[(TRANSFERS_MAX + 1) % 2].pass_on(last, [names[TRANSFERS_MAX % 2]])
    assert caught.value.reason is Reason.TOO_LARGE


def test_no_flipped_bit_passes(case: Case) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    good = case.origin()
    envelope = case.seal(case.grant, good)
    opened = Content.make(case.second.content.schema, case.second.content.payload, origin=good.raw)
    good.verify(envelope, opened, case.exchange.directory)
    for place in rng.sample(range(len(good.raw)), 150):
        raw = bytearray(good.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            found = Origin.parse(bytes(raw))
            found.verify(envelope, opened, case.exchange.directory)
        except ExchangeError:
            continue
        # Hints that decide nothing: key ids of manifests, and revocation lists of CAs that are nobody's here.
        assert [t.digest for t in found.transfers] == [t.digest for t in good.transfers]
        assert [t.grant for t in found.transfers] == [t.grant for t in good.transfers]


# Marks


NAMES = [D]


def needed(case: Case, **marks: object) -> str:
    message = officer_acknowledgement(**free(**marks))
    return consent_needed(message, NAMES, case.exchange.directory, at=case.exchange.clock())


@pytest.mark.parametrize(
    ("marks", "why"),
    [
        ({}, ""),
        ({"tlp": catalogue.TLP_CLEAR}, ""),
        ({"tlp": catalogue.TLP_AMBER}, "handling.tlp: TLP:AMBER"),
        ({"tlp": catalogue.TLP_AMBER_STRICT}, "handling.tlp: TLP:AMBER+STRICT"),
        ({"tlp": catalogue.TLP_RED}, "handling.tlp: TLP:RED"),
        (
            {"onward_transfer": catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED},
            "handling.onward_transfer: CONSENT_REQUIRED",
        ),
        ({"onward_transfer": 99}, "handling.onward_transfer: CONSENT_REQUIRED"),
        ({"releasable_to": ["ALL_PARTIES"]}, ""),
        ({"releasable_to": [OTHER, "ALL_PARTIES"]}, ""),
        ({"releasable_to": [D]}, ""),
        ({"releasable_to": ["everyone"]}, ""),
        ({"releasable_to": [OTHER]}, f"handling.releasable_to: {D} not named"),
        ({"releasable_to": ["A BODY OUTSIDE"]}, f"handling.releasable_to: {D} not named"),
        ({"restrictions": [catalogue.Restriction(kind=1)]}, ""),
    ],
)
def test_which_marks_ask_for_consent(case: Case, marks: dict[str, object], why: str) -> None:
    assert needed(case, **marks) == why


def test_which_marks_allow_nothing(case: Case) -> None:
    soon = catalogue.Handling()
    soon.retention_until.FromDatetime(case.exchange.clock() - timedelta(seconds=1))
    for marks, field in (
        ({"restrictions": [catalogue.Restriction(kind=3)]}, "handling.restrictions"),
        ({"retention_until": soon.retention_until}, "handling.retention_until"),
    ):
        with pytest.raises(ExchangeError) as caught:
            needed(case, **marks)
        assert (caught.value.reason, caught.value.field) == (Reason.NOT_PERMITTED, field)
    soon.retention_until.FromDatetime(case.exchange.clock())
    assert needed(case, retention_until=soon.retention_until) == ""


def test_what_is_free_goes_on_undeclared_and_its_relay_learns_nothing() -> None:
    case = Exchange({"th": ["desk.oncb"], "vn": ["intel.c04", "duty.guard"], "la": ["desk.lcdc"]})
    a, b, c, d = (case.mailbox(name) for name in (A, B, C, D))
    a.send(officer_acknowledgement(**free()), [B])
    b.pass_on(one(b), [C])
    c.pass_on(one(c), [D])
    delivery = one(d)
    assert delivery.originator == A
    assert [t.sender for t in delivery.chain] == [A, B, C]
    assert all(t.grant is None for t in delivery.chain)
    assert A.encode() not in delivery.envelope.raw
    report = d.evidence(delivery.digest, delivery.envelope).verify(case.directory, now=case.clock())
    assert "passed on with consent" not in [check.name for check in report.checks]


def test_a_way_that_the_marks_do_not_allow_is_refused_by_who_gets_it(case: Case) -> None:
    """C passes on, undeclared, what was marked NO_ONWARD: neither grant nor relay can see that."""
    fresh = Case()
    a, c = fresh.boxes[A], fresh.boxes[C]
    a.send(officer_acknowledgement(restrictions=[catalogue.Restriction(kind=3)]), [C])
    held = one(c)
    assert reason_of(lambda: c.pass_on(held, [D])) is Reason.NOT_PERMITTED
    grant = fresh.signed(origin=held.digest)
    assert reason_of(lambda: c.pass_on(held, [D], grant=grant)) is Reason.NOT_PERMITTED
    for declared in (None, grant):
        envelope = fresh.seal(declared, fresh.origin(held), payload=held.content.payload)
        box = fresh.handed(envelope.raw)
        assert list(box.receive()) == []
        assert [(r.problem.reason, r.problem.field) for r in box.refused[:1]] == [
            (Reason.NOT_PERMITTED, "handling.restrictions")
        ]


def test_marks_without_tlp_are_an_error(case: Case) -> None:
    message = catalogue.OfficerAcknowledgement(handling=handling(**free(tlp=0)))
    assert (
        reason_of(lambda: consent_needed(message, NAMES, case.exchange.directory, at=case.exchange.clock() + DAY))
        is Reason.RULE_BROKEN
    )
