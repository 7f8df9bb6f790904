"""Spool: one contract for memory, a file of its own and tables in the application's database."""

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from changes import change
from community import NOW, Community
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason, RefusedError, UnavailableError, error
from infoexchange.grant import Grant, Terms
from infoexchange.header import LIFETIME_MAX
from infoexchange.ports import Notice, Notified, Seen, Sent, Standing
from infoexchange.receipt import Receipt
from infoexchange.spool import SqliteSpool
from infoexchange.states import Event
from infoexchange.suites import DEFAULT_SUITE
from infoexchange.testing.spool import MemorySpool
from infoexchange.tlog import Proof, merkle

COAST_A, COAST_B = "coast.aa.example", "coast.bb.example"
DIGEST, CLAIM, LATER = b"d" * 32, b"c" * 32, NOW + timedelta(days=1)


@pytest.fixture(scope="module")
def community():
    return Community()


@pytest.fixture(params=["memory", "file", "application"])
def spool(request, tmp_path):
    if request.param == "memory":
        yield MemorySpool()
    elif request.param == "file":
        with SqliteSpool(tmp_path / "spool.db") as opened:
            yield opened
    else:
        connection = sqlite3.connect(tmp_path / "application.db")
        connection.row_factory = sqlite3.Row
        yield SqliteSpool(connection)
        connection.close()


@pytest.fixture
def envelopes():
    fresh = Community()
    return [fresh.seal(COAST_A, [COAST_B]) for _ in range(3)]


def receipt_of(community, envelope):
    entry = change(Event.ACCEPTED, envelope.digest).entry
    root = merkle.root([entry.leaf_hash])
    checkpoint = community.logs["relay.aa.example"].sign(1, root, now=NOW)
    return Receipt.make(entry, Proof.make(0, [], checkpoint.raw))


def test_standing_follows_what_was_put(spool, envelopes):
    assert spool.standing() == Standing(0, b"")
    spool.put(envelopes[:2])
    assert spool.standing() == Standing(2, envelopes[1].digest)
    spool.put(envelopes)  # a repeat changes nothing
    assert spool.standing() == Standing(3, envelopes[2].digest)
    assert [s.digest for s in spool.unsent(10)] == [e.digest for e in envelopes]
    assert [s.raw for s in spool.unsent(2)] == [e.raw for e in envelopes[:2]]


def test_a_sequence_number_is_used_once(spool, envelopes):
    spool.put(envelopes[:1])
    rival = Community().seal(COAST_A, [COAST_B])
    with pytest.raises(RefusedError) as caught:
        spool.put([envelopes[1], rival])
    assert caught.value.reason is Reason.RULE_BROKEN
    assert spool.standing() == Standing(1, envelopes[0].digest)
    assert spool.sent(rival.digest) is None


def test_results_are_kept(spool, envelopes, community):
    spool.put(envelopes)
    accepted, refused, unavailable = envelopes
    receipt = receipt_of(community, accepted)
    spool.settle(
        [
            (accepted.digest, receipt),
            (refused.digest, error(Reason.TOO_LARGE, field="envelope")),
            (unavailable.digest, error(Reason.OVERLOADED)),
            (b"unknown", receipt),
        ]
    )
    assert [s.digest for s in spool.unsent(10)] == [unavailable.digest]
    assert spool.sent(accepted.digest) == Sent(accepted.digest, accepted.raw, receipt.raw)
    assert spool.sent(refused.digest) == Sent(refused.digest, refused.raw)
    # What was proven once stays proven, and a receipt overrules a refusal.
    spool.settle([(accepted.digest, error(Reason.EXPIRED)), (refused.digest, receipt)])
    assert spool.sent(accepted.digest).receipt == receipt.raw
    assert spool.sent(refused.digest).receipt == receipt.raw
    assert spool.standing().sequence == 3


def test_an_envelope_is_handed_over_once(spool):
    assert spool.begin(DIGEST, CLAIM, LATER) is Seen.NEW
    assert spool.begin(DIGEST, CLAIM, LATER) is Seen.BEGUN
    assert spool.notice(DIGEST) is None
    spool.finish(Notice(DIGEST, Event.OPENED, b"statement"))
    spool.finish(Notice(DIGEST, Event.REFUSED, b"another"))
    assert spool.begin(DIGEST, CLAIM, LATER) is Seen.DONE
    assert spool.notice(DIGEST) == Notice(DIGEST, Event.OPENED, b"statement")


def test_a_claim_belongs_to_one_digest(spool):
    spool.begin(DIGEST, CLAIM, LATER)
    with pytest.raises(RefusedError) as caught:
        spool.begin(b"e" * 32, CLAIM, LATER)
    assert caught.value.reason is Reason.REPLAYED
    spool.finish(Notice(b"e" * 32, Event.REFUSED, b"replayed"))  # refused without a beginning, and said so
    assert spool.begin(b"e" * 32, CLAIM, LATER) is Seen.DONE


def test_notices_wait_until_they_are_said(spool):
    notices = [Notice(bytes([n]) * 32, Event.DELIVERED) for n in (3, 1, 2)]
    for notice in notices:
        spool.begin(notice.digest, notice.digest, LATER)
        spool.finish(notice)
    assert spool.unsaid(10) == notices
    assert spool.unsaid(1) == notices[:1]
    spool.said([notices[0], Notice(b"unknown", Event.DELIVERED)])
    spool.said([])
    assert spool.unsaid(10) == notices[1:]
    assert spool.notice(notices[0].digest) == notices[0]


def test_records_are_forgotten_after_expiry_and_skew(spool):
    for name in (b"said", b"unsaid", b"begun", b"later"):
        spool.begin(name, b"claim of " + name, LATER + timedelta(days=9 * (name == b"later")))
    for name in (b"said", b"unsaid", b"later"):
        spool.finish(Notice(name, Event.DELIVERED))
    spool.said([Notice(name, Event.DELIVERED) for name in (b"said", b"later")])
    assert spool.forget(LATER + CLOCK_SKEW) == 0
    after = LATER + CLOCK_SKEW + timedelta(seconds=1)
    # A statement that the relay has not taken is not thrown away.
    assert spool.forget(after) == 2
    assert spool.begin(b"later", b"claim of later", LATER) is Seen.DONE
    assert spool.begin(b"unsaid", b"claim of unsaid", LATER) is Seen.DONE
    assert spool.begin(b"said", b"claim of said", LATER) is Seen.NEW
    spool.said([Notice(b"unsaid", Event.DELIVERED)])
    assert spool.forget(after) == 2
    assert spool.notice(b"unsaid") is None


def test_grants_are_kept_for_good_and_the_newest_comes_first(spool, community):
    def grant(origin, holder):
        terms = Terms(
            origin=origin,
            originator=COAST_A,
            originator_bundle=bytes(32),
            holder=holder,
            recipients=(COAST_B,),
            granted_at=NOW,
            expires_at=LATER,
            suite=DEFAULT_SUITE.number,
        )
        return Grant.sign(terms, community.made.members[COAST_A].identity.epochs[0])

    first, second, other = grant(DIGEST, COAST_A), grant(DIGEST, COAST_B), grant(CLAIM, COAST_B)
    assert spool.grants(DIGEST) == []
    for one in (first, second, other, first):  # a repeat changes nothing
        spool.keep_grant(one)
    assert spool.grants(DIGEST) == [second, first]
    assert spool.grants(CLAIM) == [other]
    spool.forget(LATER + timedelta(days=1000))
    assert spool.grants(DIGEST) == [second, first]


def test_origins_are_kept_by_envelope(spool):
    assert spool.origin(DIGEST) == b""
    spool.keep_origin(DIGEST, b"the way it came")
    spool.keep_origin(DIGEST, b"another")
    spool.keep_origin(CLAIM, b"another")
    assert (spool.origin(DIGEST), spool.origin(CLAIM)) == (b"the way it came", b"another")


def test_a_file_outlives_its_process_and_is_private(tmp_path, envelopes):
    with SqliteSpool(tmp_path / "spool.db") as spool:
        spool.put(envelopes)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with SqliteSpool(str(tmp_path / "spool.db")) as spool:
        assert spool.standing().sequence == 3


def test_finish_joins_the_transaction_of_the_application(tmp_path):
    """Its effect and the record of the hand-over stand or fall together."""
    connection = sqlite3.connect(tmp_path / "application.db")
    connection.execute("CREATE TABLE effect (digest BLOB)")
    spool = SqliteSpool(connection)
    spool.begin(DIGEST, CLAIM, LATER)
    for ending, seen in ((connection.rollback, Seen.BEGUN), (connection.commit, Seen.DONE)):
        connection.execute("INSERT INTO effect VALUES (?)", (DIGEST,))
        spool.finish(Notice(DIGEST, Event.DELIVERED))
        assert connection.in_transaction
        ending()
        assert spool.begin(DIGEST, CLAIM, LATER) is seen
    # A refused step undoes itself and leaves the application's transaction as it was.
    connection.execute("INSERT INTO effect VALUES (x'00')")
    spool.begin(b"other", b"claim", LATER)
    with pytest.raises(RefusedError):
        spool.begin(b"third", b"claim", LATER)
    connection.commit()
    assert connection.execute("SELECT count(*) FROM effect").fetchone() == (2,)
    spool.close()
    connection.execute("SELECT 1")  # still the application's
    connection.close()


def test_a_connection_that_does_not_wait_for_the_disk_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "application.db")
    connection.execute("PRAGMA synchronous = NORMAL")
    with pytest.raises(UnavailableError, match="synchronous = FULL"):
        SqliteSpool(connection)
    connection.close()


def test_a_newer_spool_is_refused(tmp_path):
    SqliteSpool(tmp_path / "spool.db").close()
    connection = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
    connection.execute("UPDATE infoexchange_spool SET version = 99")
    connection.close()
    with pytest.raises(UnavailableError, match="schema 99"):
        SqliteSpool(tmp_path / "spool.db")


def test_keks_are_kept_replaced_and_forgotten(spool):
    first = Notified(b"a" * 16, COAST_B, given=True, ready=False, not_after=LATER, raw=b"one")
    second = Notified(b"b" * 16, COAST_A, given=False, ready=True, not_after=NOW, raw=b"two")
    for row in (first, second, first):
        spool.note_kek(row)
    assert list(spool.keks()) == [second, first]
    ready = replace(first, ready=True)
    spool.note_kek(ready)
    assert list(spool.keks()) == [second, ready]
    spool.forget(NOW + LIFETIME_MAX + CLOCK_SKEW)
    assert list(spool.keks()) == [second, ready]
    spool.forget(NOW + LIFETIME_MAX + CLOCK_SKEW + timedelta(seconds=1))
    assert list(spool.keks()) == [ready]
