"""Threads after a restart, a crash at every place, and a disk that fails: nothing is lost and nothing doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asked import answering, asked, asker, asking, exchange, refusal, send, take, thread
from conftest import RECIPIENT, SENDER
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.flows import State
from infoexchange.mailbox import Mailbox
from infoexchange.spool import SqliteSpool

__all__ = ["asked", "asker", "exchange"]


def reborn(box: Mailbox, spool: object = None) -> Mailbox:
    """The same agency after a restart, with what was durable."""
    desk = box._desk
    return Mailbox(desk.identity, desk.bundles, desk.directory, desk.relay, spool or desk.spool, clock=desk.clock)  # type: ignore[arg-type]


def test_a_restart_changes_nothing(asker: Mailbox, asked: Mailbox, tmp_path: Path) -> None:
    with SqliteSpool(tmp_path / "asker.db") as spool:
        box = reborn(asker, spool)
        digest = send(box, asking(), RECIPIENT)
        take(asked)
        send(asked, answering(digest, "PARTIAL"), SENDER)
        take(box)
        before = box.threads()
    with SqliteSpool(tmp_path / "asker.db") as spool:
        again = reborn(asker, spool)
        assert again.threads() == before
        assert thread(again, digest).state is State.PARTIAL
        send(asked, answering(digest, "FINAL"), SENDER)
        take(again)
        assert thread(again, digest).state is State.FINAL


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_around_sealing_loses_and_doubles_nothing(
    asker: Mailbox, asked: Mailbox, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is durable there is neither message nor step; after that there are both, and `flush` sends it."""
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    put = asked.spool.put

    def crash(*args: object) -> None:
        if when == "after":
            put(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(asked.spool, "put", crash)
    with pytest.raises(KeyboardInterrupt):
        asked.send(answering(digest, "FINAL"), [SENDER])
    monkeypatch.undo()
    box = reborn(asked)
    assert thread(box, digest).state is (State.ASKED if when == "before" else State.FINAL)
    if when == "before":
        send(box, answering(digest, "FINAL"), SENDER)
    box.flush()
    assert [d.unexpected for d in take(asker)] == [""]
    assert refusal(box, answering(digest, "FINAL"), SENDER)[0] == "status"


@pytest.mark.parametrize("method", ["begin", "note", "finish"])
@pytest.mark.parametrize("done", [False, True])
def test_a_crash_while_receiving_loses_and_doubles_nothing(
    asker: Mailbox, asked: Mailbox, method: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = send(asker, asking(), RECIPIENT)
    real: Callable[..., object] = getattr(asked.spool, method)

    def crash(*args: object) -> None:
        if done:
            real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(asked.spool, method, crash)
    with pytest.raises(KeyboardInterrupt):
        take(asked)
    monkeypatch.undo()
    box = reborn(asked)
    take(box)
    found = box.threads().threads
    assert [(t.root.digest, t.state) for t in found] == [(digest, State.ASKED)]
    assert list(box.receive()) == []


def test_a_disk_that_fails_while_a_step_is_kept_is_no_fault_of_the_message(
    asker: Mailbox, asked: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(asker, asking(), RECIPIENT)

    def full(*_: object) -> None:
        raise error(Reason.UNAVAILABLE, field="spool", detail="disk full")

    monkeypatch.setattr(asked.spool, "note", full)
    with pytest.raises(ExchangeError) as caught:
        list(asked.receive())
    assert caught.value.reason is Reason.UNAVAILABLE
    monkeypatch.undo()
    assert asked.refused == []
    assert len(take(asked)) == 1
