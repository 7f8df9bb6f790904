"""Steps in a spool: one contract for memory, a file of its own and tables in the application's database."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from community import NOW
from flowing import ASKED, ASKER, MONDAY, OTHER, answer, named, request, step
from infoexchange import step_table
from infoexchange.errors import Reason, RefusedError, UnavailableError, error
from infoexchange.flows import Kind, Said, Step
from infoexchange.ports import Notice, Spool
from infoexchange.spool import SqliteSpool
from infoexchange.states import Event, OpStatus, Precedence
from test_spool_contract import community, envelopes, receipt_of, spool

__all__ = ["community", "envelopes", "spool"]


def digests(steps: object) -> set[bytes]:
    return {one.digest for one in steps}  # type: ignore[attr-defined]


def test_a_step_comes_back_as_it_was(spool: Spool) -> None:
    full = Step(
        digest=named("full"),
        sender=ASKER,
        recipients=(ASKED, OTHER),
        at=NOW + timedelta(milliseconds=1),
        sequence=7,
        thread_id=b"t" * 16,
        in_reply_to=named("before"),
        said=Said(
            schema="PersonnelExchange",
            kind=Kind.NO_TRACE,
            asks=True,
            op_status=OpStatus.SYSTEM,
            precedence=Precedence.FLASH,
            about=(named("one"), named("two")),
            respond_by=MONDAY + timedelta(milliseconds=3),
        ),
    )
    bare = request("bare", to=())
    for one in (full, bare, full):
        spool.note(one)
    assert sorted(spool.steps(), key=lambda s: s.sequence) == [bare, full]
    spool.note(replace(full, sender=OTHER))  # a name means one thing: what came first stays
    assert spool.steps([full.digest]) == [full]


def test_only_what_has_a_flow_is_listed(spool: Spool) -> None:
    quiet, cited = step("quiet", ASKER), step("cited", ASKER)
    urgent = step("urgent", ASKER, precedence=Precedence.PRIORITY)
    about = answer("about", Kind.READ, about="cited")
    asks = request("asks")
    for one in (quiet, cited, urgent, about, asks):
        spool.note(one)
    assert digests(spool.steps()) == digests([cited, urgent, about, asks])
    assert spool.steps([quiet.digest]) == [quiet]


def test_what_is_tied_is_found_in_both_directions(spool: Spool) -> None:
    chain = [request(), answer("part", Kind.PARTIAL, at=1), step("thanks", ASKER, at=2, reply="part")]
    other = [request("other"), answer("elsewhere", Kind.FINAL, about="unknown other")]
    for one in (*chain, *other):
        spool.note(one)
    for one in chain:
        assert digests(spool.steps([one.digest])) == digests(chain)
    # Two that name the same message are tied by it, whether it is known here or not.
    assert digests(spool.steps([named("unknown")])) == digests(other)
    assert digests(spool.steps([named("part"), named("other")])) == digests([*chain, *other])
    assert spool.steps([named("nothing")]) == []


def test_replies_without_end_do_not_slow_everything_down(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoexchange.testing.spool.TIED_MAX", 20)
    monkeypatch.setattr("infoexchange.step_table._TIED", step_table._TIED.replace("LIMIT 4096", "LIMIT 20"))
    spool.note(request())
    for number in range(40):
        spool.note(step(f"{number}", ASKED, ASKER, reply="request"))
    assert len(spool.steps([named("request")])) == 20
    assert len(spool.steps()) == 41


def test_steps_of_what_is_sent_are_kept_with_it_or_not_at_all(spool: Spool, envelopes: object) -> None:
    first, second, third = (replace(request(), digest=e.digest) for e in envelopes)  # type: ignore[attr-defined]
    spool.put(envelopes[:2], [first, second])  # type: ignore[index]
    assert digests(spool.steps()) == digests([first, second])
    from community import Community

    rival = Community().seal("coast.aa.example", ["coast.bb.example"])
    with pytest.raises(RefusedError):
        spool.put([envelopes[2], rival], [third])  # type: ignore[index]
    assert digests(spool.steps()) == digests([first, second])


def test_what_the_own_relay_refused_was_never_sent(spool: Spool, envelopes: object, community: object) -> None:
    envelope = envelopes[0]  # type: ignore[index]
    sent = replace(request(), digest=envelope.digest)
    spool.put([envelope], [sent])
    spool.settle([(envelope.digest, error(Reason.OVERLOADED))])
    assert spool.steps() == [sent]  # it is still on its way
    spool.settle([(envelope.digest, error(Reason.TOO_LARGE))])
    assert spool.steps() == spool.steps([envelope.digest]) == []
    spool.settle([(envelope.digest, receipt_of(community, envelope))])  # a receipt overrules a refusal
    assert spool.steps() == [sent]


def test_what_is_refused_has_not_come(spool: Spool) -> None:
    later = NOW + timedelta(days=1)
    for name in ("taken", "refused"):
        spool.begin(named(name), named(name), later)
        spool.note(request(name))
    spool.finish(Notice(named("taken"), Event.OPENED, b"statement"), request("taken"))
    spool.finish(Notice(named("taken"), Event.REFUSED, b"too late"))
    spool.finish(Notice(named("refused"), Event.REFUSED, b"statement"))
    assert digests(spool.steps()) == {named("taken")}
    assert digests(spool.steps([named("refused")])) == set()
    spool.said([Notice(named("taken"), Event.OPENED, b"statement")])
    spool.forget(later + timedelta(days=1))
    assert digests(spool.steps()) == {named("taken")}  # an answer may come years later


def test_what_is_acknowledged_is_kept_with_that(spool: Spool) -> None:
    quiet = step("quiet", ASKER)
    spool.finish(Notice(quiet.digest, Event.OPENED, b"statement"), quiet)
    assert spool.steps([quiet.digest]) == [quiet]
    spool.finish(Notice(quiet.digest, Event.OPENED, b"again"), step("other", ASKER))  # a repeat changes nothing
    spool.finish(Notice(named("refused"), Event.REFUSED, b"statement"), step("refused", ASKER))
    assert spool.steps([named("other"), named("refused")]) == []


def test_a_spool_of_the_version_before_is_taken_over(tmp_path: object, envelopes: object) -> None:
    path = tmp_path / "spool.db"  # type: ignore[operator]
    with SqliteSpool(path) as spool:
        spool.put(envelopes)  # type: ignore[arg-type]
    old = sqlite3.connect(path)
    with old:
        for table in ("infoexchange_step", "infoexchange_tie"):
            old.execute(f"DROP TABLE {table}")
        old.execute("UPDATE infoexchange_spool SET version = 1")
    old.close()
    for _ in range(2):
        with SqliteSpool(path) as spool:
            spool.note(request())
            assert digests(spool.steps()) == {named("request")}
            assert len(spool.unsent(10)) == 3
    newer = sqlite3.connect(path)
    with newer:
        newer.execute("INSERT INTO infoexchange_spool VALUES (9)")
    newer.close()
    with pytest.raises(UnavailableError, match="schema 9"):
        SqliteSpool(path)


def test_the_effect_of_the_application_and_the_step_stand_together(tmp_path: object) -> None:
    """On the application's connection a step is part of its transaction: undone with it, it comes with the message."""
    connection = sqlite3.connect(tmp_path / "application.db", isolation_level=None)  # type: ignore[operator]
    spool = SqliteSpool(connection)
    connection.execute("BEGIN")
    spool.note(request())
    connection.execute("ROLLBACK")
    assert spool.steps() == []
    spool.note(request())
    assert digests(spool.steps()) == {named("request")}
    connection.close()
