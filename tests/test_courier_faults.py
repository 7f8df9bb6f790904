"""What goes wrong with a courier: lost attachments, false and broken pouches, full disks, damaged memories."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from conftest import RECIPIENT, SENDER
from couriers import Post, refusal
from infoexchange import Attachment, Draft
from infoexchange.errors import Reason, error
from infoexchange.node import courier
from infoexchange.pouch import Item, Kind, Refusal, Told, write
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange_relay import unpacking
from infoexchange_relay.pouches import Shelf
from messages import officer_acknowledgement
from reconciled import TH, VN


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path)


# Attachments

SENT = random.Random(33).randbytes(2**20 + 77)


@pytest.fixture
def scan(tmp_path: Path) -> Attachment:
    (tmp_path / "scan.pdf").write_bytes(SENT)
    return Attachment(tmp_path / "scan.pdf")


def attach(post: Post, scan: Attachment, *to: str) -> bytes:
    [result] = post.exchange.mailbox(SENDER).send_all(
        [Draft(officer_acknowledgement(), to or [RECIPIENT], attachments=[scan], suite=HYBRID_KEM)]
    )
    assert isinstance(result, Receipt), result
    return result.subject.envelope_digest


def test_attachments_travel_in_the_pouch(post: Post, scan: Attachment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "PART_SIZE_MAX", 2**20)
    attach(post, scan)
    file, made = post.make(TH)
    assert made["bytes"] > len(SENT)
    with post.opened(file) as contents:
        parts = [item for item in contents.items() if item.kind is Kind.PART]
        assert len(parts) == 2
    assert post.take(VN, file)["envelopes"] == 1
    [delivery] = post.exchange.mailbox(RECIPIENT).receive()
    assert b"".join(delivery.attachments[0].pieces()) == SENT
    assert post.take(VN, file)["envelopes"] == 1


def test_an_attachment_that_is_gone_leaves_its_message_in_the_queue(post: Post, scan: Attachment) -> None:
    digest, other = attach(post, scan), post.send()
    depot = post.exchange.depots[TH]
    kept = dict(depot._blobs)
    depot._blobs.clear()
    file, made = post.make(TH)
    assert (made["envelopes"], made["left"]) == (1, {"unavailable": 1})
    post.take(VN, file)
    assert post.receive() == [other]
    depot._blobs.update(kept)
    post.carry(VN)
    assert post.waiting(TH, VN) == [digest]
    post.carry(TH)
    [delivery] = post.exchange.mailbox(RECIPIENT).receive()
    assert delivery.digest == digest


def test_an_attachment_without_room_is_left_and_one_that_is_refused_ends(
    post: Post, scan: Attachment, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = attach(post, scan)
    other = post.send()
    file, _ = post.make(TH)
    depot = post.exchange.depots[VN]

    def failing(reason: Reason, *_: object) -> Any:
        raise error(reason, field="attachment")

    with monkeypatch.context() as patch:
        patch.setattr(depot, "begin", partial(failing, Reason.OVERLOADED))
        assert post.take(VN, file)["left"] == {"unavailable": 1}
    assert post.receive() == [other]
    with monkeypatch.context() as patch:
        patch.setattr(depot, "begin", partial(failing, Reason.TOO_LARGE))
        assert post.take(VN, file)["refused"] == 1
    post.carry(VN)
    assert post.events(TH, digest)[-1] == "REFUSED"


# What is not to be believed


def test_who_is_not_named_is_neither_written_to_nor_heard(post: Post) -> None:
    post.send()
    file, _ = post.make(TH)
    before = post.sizes()
    assert refusal(lambda: post.make(TH, peers=[])) is Reason.NOT_PERMITTED
    assert refusal(lambda: post.take(VN, file, peers=[])) is Reason.NOT_PERMITTED
    assert refusal(lambda: post.take(TH, file)) is Reason.NOT_ADDRESSED
    assert post.sizes() == before


def test_a_pouch_from_the_future_is_refused(post: Post) -> None:
    file, _ = post.make(TH)
    post.exchange.clock.advance(-timedelta(minutes=6))
    assert refusal(lambda: post.take(VN, file)) is Reason.NOT_YET_VALID


def test_a_clock_that_is_set_back_makes_no_pouch_that_seems_old(post: Post) -> None:
    post.exchange.clock.advance(timedelta(hours=1))
    post.take(VN, post.make(TH)[0])
    post.exchange.clock.advance(-timedelta(minutes=3))
    digest = post.send()
    assert post.carry(TH)["envelopes"] == 1
    assert post.receive() == [digest]


def test_bytes_that_are_changed_or_cut_off_bring_nothing(post: Post, tmp_path: Path) -> None:
    post.send()
    file, _ = post.make(TH)
    raw, spoilt, before = file.read_bytes(), tmp_path / "spoilt", post.sizes()
    changed = {
        Reason.MALFORMED: [raw[:-1], raw[: len(raw) // 2], raw + b"\n", b""],
        Reason.BAD_COMMITMENT: [raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:]],
    }
    for reason, every in changed.items():
        for one in every:
            spoilt.write_bytes(one)
            assert refusal(lambda: post.take(VN, spoilt)) is reason
    assert post.sizes() == before
    assert not (tmp_path / VN / TH).exists()


def test_a_peer_can_end_nothing_that_does_not_wait_for_it(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other relay refuses, and claims to have taken, what never went there."""
    inside = post.exchange.mailbox(SENDER).send(officer_acknowledgement(), to=["desk.navy.th.example"])
    digest = inside.subject.envelope_digest
    post.carry(TH)
    post.carry(VN)
    made_up = (Refusal(digest, b"", Reason.EXPIRED), Refusal(digest, bytes(32), Reason.EXPIRED))
    made_up += (Refusal(bytes(32), b"", Reason.EXPIRED),)
    before = post.sizes()
    honest = Shelf.read
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "read", lambda self: replace(honest(self), refused=made_up))
        file, made = post.make(VN)
        assert made["refusals"] == 3
    assert post.take(TH, file)["refusals"] == 0
    assert post.sizes()[TH] == before[TH]
    assert post.receive("desk.navy.th.example") == [digest]


def test_a_history_that_does_not_hold_is_not_kept(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = post.send()
    post.carry(TH)
    told = courier.Told

    def lied(digest: bytes, events: tuple[bytes, ...], statements: tuple[bytes, ...]) -> Any:
        spoilt = events[0].replace(b"\n\n", b"\n", 1)
        return told(digest, (spoilt, *events[1:]), statements)

    with monkeypatch.context() as patch:
        patch.setattr(courier, "Told", lied)
        file, _ = post.make(VN)
    found = post.take(TH, file)
    assert (found["histories"], found["forwarded"]) == (0, 0)
    assert post.waiting(TH, VN) == [digest]
    # What was not believed was answered all the same, as every pouch is: it is told again when something happens.
    post.receive()
    post.carry(VN)
    assert post.waiting(TH, VN) == []


def hostile(post: Post, file: Path, items: list[Item], by: str = TH, to: str = VN) -> Path:
    """Write a pouch as a listed relay may write it that keeps to the format and to nothing else."""
    keys = post.exchange.community.log_keys[by]
    with file.open("wb") as out:
        write(out, items, keys, to, made_at=post.exchange.clock(), answers=b"")
    return file


def test_histories_of_nothing_leave_nothing(post: Post, tmp_path: Path) -> None:
    known, foreign = post.send(), post.send("desk.navy.th.example")
    post.carry(TH)
    node = post.exchange.nodes[TH]
    party = post.exchange.directory.party(SENDER, at=post.exchange.clock())
    true = [receipt.raw for receipt in node.history(party, foreign).events]
    told = [Told(n.to_bytes(32, "big"), (), ()) for n in range(3)]
    told += [Told(foreign, tuple(true), ()), Told(known, (), ()), Told(known, tuple(true), ())]
    post.exchange.clock.advance(timedelta(seconds=1))
    before = sorted(tmp_path.rglob("told/*"))
    with capture_logs() as logs:
        file = hostile(post, tmp_path / "hostile", [Item(Kind.HISTORY, each.raw) for each in told])
        found = post.take(VN, file)
    assert (found["histories"], found["left"]) == (0, {})
    assert sorted(tmp_path.rglob("told/*")) == before
    assert [(e["event"], e["count"]) for e in logs if e["event"] == "histories_not_kept"] == [
        ("histories_not_kept", len(told))
    ]


def test_histories_stop_at_a_full_disk(post: Post) -> None:
    digest = post.send()
    post.carry(TH)
    file, _ = post.make(VN)
    assert refusal(lambda: post.take(TH, file, reserve=2**62)) is Reason.OVERLOADED
    assert not post.courier(TH).told(VN, digest).events
    assert post.take(TH, file)["histories"] == 1


def test_so_many_refusals_are_remembered_and_the_rest_comes_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {post.send() for _ in range(3)}
    file, _ = post.make(TH)

    def refuse(caller: Any, raw: bytes) -> Any:
        raise error(Reason.SUITE_NOT_ACCEPTED)

    monkeypatch.setattr(unpacking, "_REFUSED_MAX", 2)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(post.exchange.nodes[VN], "decide", refuse)
        found = post.take(VN, file)
    assert (found["refused"], found["left"]) == (2, {"suite_not_accepted": 1})
    assert [entry["count"] for entry in logs if entry["event"] == "refusals_left_out"] == [1]
    assert post.carry(VN)["refusals"] == 2
    [left] = post.waiting(TH, VN)
    assert left in digests
    assert post.carry(TH)["envelopes"] == 1
    assert post.receive() == [left]


# The machine


def test_a_full_disk_and_a_damaged_memory_are_told(post: Post, tmp_path: Path) -> None:
    post.send()
    assert refusal(lambda: post.make(TH, reserve=2**62)) is Reason.OVERLOADED
    post.make(TH)
    state = tmp_path / TH / VN / "state.json"
    for damaged in (b"", b"[]", b"{}", b'{"sent": 1}', state.read_bytes()[:-9]):
        state.write_bytes(damaged)
        assert refusal(lambda: post.make(TH)) is Reason.MALFORMED
    state.unlink()
    assert post.carry(TH)["envelopes"] == 1


def test_what_was_told_is_forgotten_after_half_a_year(post: Post) -> None:
    digest = post.send()
    post.carry(TH)
    post.exchange.witness()
    post.carry(VN)
    assert post.courier(TH).told(VN, digest).events
    assert not post.courier(TH, peers=[]).told(VN, digest).events
    old = (post.exchange.clock() - timedelta(days=181)).timestamp()
    for file in (post.folder / TH / VN / "told").iterdir():
        os.utime(file, (old, old))
    post.carry(TH)
    post.carry(VN)
    assert not post.courier(TH).told(VN, digest).events


def test_a_relay_that_is_not_in_the_directory_gets_no_pouch(post: Post, tmp_path: Path) -> None:
    make = partial(post.run, TH, lambda courier: courier.make("relay.xx.example", tmp_path / "new"))
    assert refusal(lambda: make(peers=["relay.xx.example"])) is Reason.UNKNOWN_PARTY
    assert not (tmp_path / "new").exists()
