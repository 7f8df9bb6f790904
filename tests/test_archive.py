"""Archive: one contract for memory and disk; opening later, destruction for good, and what is left to prove."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import Draft, suites
from infoexchange.archive import SqliteArchive
from infoexchange.delivery import Delivery
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.evidence import Evidence
from infoexchange.mailbox.records import Records
from infoexchange.manifest import Manifest
from infoexchange.ports import Notice
from infoexchange.retention import Archive, Entry, Kept
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Exchange, MemoryArchive
from infoexchange.testing.clock import START
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

SECRET = b"a role that only the two of them know"
ARCHIVE_KEY = bytes(range(32))


@pytest.fixture(params=["memory", "sqlite"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    if request.param == "memory":
        yield MemoryArchive()
    else:
        with SqliteArchive(tmp_path / "archive.sqlite3") as opened:
            yield opened


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    exchange.mailbox(RECIPIENT)
    return exchange


def deliver(exchange: Exchange, days: int | None = None) -> Delivery:
    """Send a message with a retention, and return it as the recipient gets it."""
    message = officer_acknowledgement()
    message.officer_role = SECRET.decode()
    if days is not None:
        message.handling.retention_until.FromDatetime(exchange.clock() + timedelta(days=days))
    [result] = exchange.mailbox(SENDER).send_all([Draft(message, [RECIPIENT], suite=HYBRID_KEM)])
    assert not isinstance(result, ExchangeError)
    digest = result.subject.envelope_digest
    return next(d for d in exchange.mailbox(RECIPIENT).receive() if d.digest == digest)


def archived(exchange: Exchange, archive: Archive, days: int | None = None) -> Delivery:
    box = exchange.mailbox(RECIPIENT)
    box.keep_in(archive)
    delivery = deliver(exchange, days)
    box.archive(delivery)
    box.acknowledge(delivery)
    box.flush()
    return delivery


def records(exchange: Exchange, archive: Archive) -> Records:
    """The archive as a command opens it, with no relay."""
    return Records(exchange.community.members[RECIPIENT].identity, archive, exchange.clock)


def content_key_of(exchange: Exchange, envelope: Envelope) -> bytes:
    member, sender = exchange.community.members[RECIPIENT], exchange.community.members[SENDER].bundle
    own = {member.bundle.digest: member.bundle}
    return envelope.unlock(member.identity, own, exchange.directory, sender, now=exchange.clock())


# The contract


def kept(exchange: Exchange, delivery: Delivery, **changed: Any) -> Kept:
    entry = Entry(digest=delivery.digest, sender=SENDER, received_at=exchange.clock())
    sender = exchange.community.members[SENDER].bundle
    return Kept(replace(entry, **changed), delivery.envelope.raw, sender, exchange.directory.raw)


def test_what_is_kept_is_found_again(exchange: Exchange, archive: Archive) -> None:
    assert (archive.entries(), archive.find(b"nothing"), archive.sealed_key(b"nothing")) == ([], None, b"")
    delivery = deliver(exchange)
    item = kept(exchange, delivery, retention_until=START + timedelta(days=3))
    archive.keep(item, b"sealed")
    archive.keep(replace(item, directory=b"other"), b"other")  # a repeat changes nothing
    found = archive.find(delivery.digest)
    assert found is not None
    assert (found.entry, found.raw, found.directory) == (item.entry, item.raw, item.directory)
    proofs = (found.bundle.raw, found.bundle.certificates, found.bundle.crls)
    assert proofs == (item.bundle.raw, item.bundle.certificates, item.bundle.crls)
    assert archive.sealed_key(delivery.digest) == b"sealed"
    assert archive.entries() == [item.entry]


def test_due_is_what_has_an_end_in_the_past(exchange: Exchange, archive: Archive) -> None:
    ends = [START + timedelta(days=2), START + timedelta(days=1), None]
    deliveries = [deliver(exchange) for _ in ends]
    for delivery, end in zip(deliveries, ends, strict=True):
        archive.keep(kept(exchange, delivery, retention_until=end), b"sealed")
    assert archive.due(START + timedelta(days=1)) == []
    assert archive.due(START + timedelta(days=1, seconds=1)) == [deliveries[1].digest]
    assert set(archive.due(START + timedelta(days=9))) == {d.digest for d in deliveries[:2]}
    archive.destroy([deliveries[1].digest], START)
    assert archive.due(START + timedelta(days=9)) == [deliveries[0].digest]


def test_destroyed_once_and_stated_once(exchange: Exchange, archive: Archive) -> None:
    one, other = deliver(exchange), deliver(exchange)
    for delivery in (one, other):
        archive.keep(kept(exchange, delivery), b"sealed")
    archive.destroy([one.digest, b"unknown"], START)
    archive.destroy([one.digest], START + timedelta(days=1))
    found = archive.find(one.digest)
    assert found is not None
    assert (found.entry.destroyed_at, archive.sealed_key(one.digest)) == (START, b"")
    assert found.raw == found.manifest.raw == one.envelope.manifest.raw
    assert archive.sealed_key(other.digest) == b"sealed"
    archive.keep(kept(exchange, one), b"again")  # it stays destroyed
    assert archive.sealed_key(one.digest) == b""
    assert [entry.digest for entry in archive.unstated()] == [one.digest]
    archive.stated([one.digest])
    assert archive.unstated() == []


# Opening again


def test_what_was_received_is_opened_again_as_of_its_time(exchange: Exchange, archive: Archive) -> None:
    delivery = archived(exchange, archive)
    exchange.clock.advance(timedelta(days=300))  # message, bundle and revocation list have long run out
    again = records(exchange, archive).open(delivery.digest)
    assert (again.message, again.sender, again.digest) == (delivery.message, SENDER, delivery.digest)
    assert (again.received_at, again.envelope.raw) == (delivery.received_at, delivery.envelope.raw)


def test_what_stands_there_instead_is_refused(exchange: Exchange) -> None:
    """Somebody with the archive's file, and without the archive key."""
    archive = MemoryArchive()
    delivery, other = archived(exchange, archive), archived(exchange, archive)
    good = archive._kept[delivery.digest]
    second = exchange.community.members[RECIPIENT].bundle
    cases = (
        (replace(good, raw=other.envelope.raw), Reason.BAD_SIGNATURE),
        (replace(good, raw=good.raw[:-1] + bytes([good.raw[-1] ^ 1])), Reason.BAD_SIGNATURE),
        (replace(good, bundle=second), Reason.BAD_COMMITMENT),
        (replace(good, directory=good.directory[:-1]), Reason.BAD_COMMITMENT),
        (replace(good, entry=replace(good.entry, received_at=START + timedelta(days=1))), Reason.BAD_COMMITMENT),
    )
    for item, reason in cases:
        archive._kept[delivery.digest] = item
        with pytest.raises(ExchangeError) as caught:
            records(exchange, archive).open(delivery.digest)
        assert caught.value.reason is reason
    archive._kept[delivery.digest] = good
    archive._keys[delivery.digest] = archive._keys[other.digest]
    with pytest.raises(ExchangeError) as caught:
        records(exchange, archive).open(delivery.digest)
    assert caught.value.reason is Reason.BAD_CIPHERTEXT
    stranger = Records(exchange.community.members[SENDER].identity, archive, exchange.clock)
    with pytest.raises(ExchangeError) as caught:
        stranger.open(other.digest)
    assert caught.value.reason is Reason.BAD_CIPHERTEXT


def test_no_bit_of_a_sealed_key_can_change(exchange: Exchange) -> None:
    item = kept(exchange, deliver(exchange))
    sealed = item.seal(bytes(32), ARCHIVE_KEY)
    assert item.unseal(sealed, ARCHIVE_KEY) == bytes(32)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(ExchangeError) as caught:
            item.unseal(bytes(changed), ARCHIVE_KEY)
        assert caught.value.reason is Reason.BAD_CIPHERTEXT
    with pytest.raises(ExchangeError) as caught:
        item.seal(bytes(32), b"")
    assert caught.value.reason is Reason.STALE_BUNDLE


def test_what_is_not_there_is_named(exchange: Exchange, archive: Archive) -> None:
    found = records(exchange, archive)
    for ask in (found.open, found.verify, lambda digest: found.destroy([digest])):
        with pytest.raises(ExchangeError) as caught:
            ask(bytes(32))
        assert caught.value.reason is Reason.NOT_ADDRESSED
    with pytest.raises(UnavailableError):
        exchange.mailbox(RECIPIENT).archive(deliver(exchange))  # no archive was given


# Destruction


def test_after_its_retention_the_key_is_gone_and_the_proof_stays(exchange: Exchange, archive: Archive) -> None:
    box = exchange.mailbox(RECIPIENT)
    delivery, kept_on = archived(exchange, archive, days=10), archived(exchange, archive)
    digest = delivery.digest
    exchange.clock.advance(timedelta(days=11))
    found = records(exchange, archive)
    assert found.due() == [digest]
    found.destroy(found.due())
    with pytest.raises(ExchangeError) as caught:
        found.open(digest)
    assert caught.value.reason is Reason.EXPIRED
    assert found.open(kept_on.digest).message == kept_on.message
    assert found.verify(digest) == SENDER  # the original signature
    box.flush()
    [outcome] = exchange.mailbox(SENDER).outcomes(digest)
    assert (outcome.state, outcome.destroyed_at) == (Event.OPENED, exchange.clock())
    exchange.witness()
    manifest = found.manifest(digest)
    assert isinstance(manifest, Manifest)
    for evidence in (exchange.mailbox(SENDER).evidence(digest), box.evidence(digest, manifest)):
        report = Evidence.parse(evidence.raw).verify(exchange.directory, now=exchange.clock())
        assert report.verdict is Verdict.TOTAL_PASSED, [c for c in report.checks if c.verdict.value]
        details = {check.name: check.detail for check in report.checks}
        assert "DESTROYED" in details[f"outcome for {RECIPIENT}"]
        assert any("DESTROYED by" in check.name for check in report.checks)
    assert Evidence.parse(box.evidence(digest, manifest).raw).envelope is None


def test_destruction_is_stated_once_and_only_of_what_was_opened(exchange: Exchange) -> None:
    archive, box = MemoryArchive(), exchange.mailbox(RECIPIENT)
    box.keep_in(archive)
    delivery = deliver(exchange)
    box.archive(delivery)
    records(exchange, archive).destroy([delivery.digest])
    box.flush()  # it was never acknowledged
    assert [(r.problem.reason, r.digest) for r in box.refused] == [(Reason.NOT_PERMITTED, delivery.digest)]
    second = archived(exchange, archive)
    records(exchange, archive).destroy([second.digest])
    for _ in range(2):
        box.flush()
        archive._stated.discard(second.digest)  # a crash before it was noted
    node = exchange.node_of(RECIPIENT)
    assert [r.event for r in node.records(second.digest)][-2:] == [Event.OPENED, Event.DESTROYED]
    assert box.spool.unsaid(9) == []


def test_opened_and_destroyed_may_go_out_together(exchange: Exchange) -> None:
    archive, box = MemoryArchive(), exchange.mailbox(RECIPIENT)
    box.keep_in(archive)
    delivery = deliver(exchange)
    box.archive(delivery)
    box.acknowledge(delivery)
    records(exchange, archive).destroy([delivery.digest])
    box.flush()
    assert box.refused == []
    node = exchange.node_of(RECIPIENT)
    assert [r.event for r in node.records(delivery.digest)][-3:] == [Event.DELIVERED, Event.OPENED, Event.DESTROYED]


def test_nobody_else_states_a_destruction(exchange: Exchange) -> None:
    archive, box = MemoryArchive(), exchange.mailbox(RECIPIENT)
    delivery = archived(exchange, archive)
    found = records(exchange, archive)
    found.destroy([delivery.digest])
    entry = found.entries()[0]
    notice = found._statement(entry, exchange.community.members[RECIPIENT].bundle)
    forged = found._statement(entry, exchange.community.members[RECIPIENT].bundle)
    for caller in (SENDER, "duty.guard.vn.example"):
        [result] = exchange.mailbox(caller).relay.acknowledge([notice])
        assert isinstance(result, ExchangeError)
        assert result.reason is Reason.NOT_ADDRESSED
    [result] = box.relay.acknowledge([Notice(delivery.digest, Event.OPENED, forged.statement)])
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.BAD_FIELD


def test_a_copy_of_the_folder_after_destruction_opens_nothing(exchange: Exchange, tmp_path: Path) -> None:
    """All that somebody with the whole home folder has: identity, epoch keys, archive, and the files beside it."""
    home, taken = tmp_path / "home", tmp_path / "taken"
    home.mkdir()
    with SqliteArchive(home / "archive.sqlite3") as archive:
        delivery, other = archived(exchange, archive), archived(exchange, archive)
        (home / "identity.key").write_bytes(exchange.community.members[RECIPIENT].identity.raw)
        key, sealed = content_key_of(exchange, delivery.envelope), archive.sealed_key(delivery.digest)
        wrap, body = delivery.envelope.wraps[0].enc_ct, delivery.envelope.body
        shutil.copytree(home, tmp_path / "before")
        before = b"".join(path.read_bytes() for path in (tmp_path / "before").iterdir())
        assert (sealed in before, wrap in before, key in before, SECRET in before) == (True, True, False, False)
        records(exchange, archive).destroy([delivery.digest])
        shutil.copytree(home, taken)
    everything = b"".join(path.read_bytes() for path in taken.iterdir())
    for secret in (key, sealed, sealed[24:], wrap, body, body[:64], body[-64:], SECRET):
        assert secret not in everything
    with SqliteArchive(taken / "archive.sqlite3") as copy:
        found = records(exchange, copy)
        with pytest.raises(ExchangeError):
            found.open(delivery.digest)
        assert found.verify(delivery.digest) == SENDER
        assert found.open(other.digest).message == other.message


@pytest.mark.parametrize("at", ["VACUUM", "wal_checkpoint", "DELETE FROM unerased"])
def test_a_crash_while_destroying_is_made_good_before_anything_is_stated(
    exchange: Exchange, tmp_path: Path, at: str
) -> None:
    path, crash = tmp_path / "archive.sqlite3", tmp_path / "crash"

    class Dying:
        """A connection whose process ends before a statement."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, statement: str, *rest: Any) -> Any:
            if at in statement:
                shutil.copytree(tmp_path, crash, ignore=lambda *_: ["crash"])
                raise KeyboardInterrupt
            return self._connection.execute(statement, *rest)

    with SqliteArchive(path) as archive:
        delivery = archived(exchange, archive)
        sealed, wrap = archive.sealed_key(delivery.digest), delivery.envelope.wraps[0].enc_ct
        connection, archive._connection = archive._connection, Dying(archive._connection)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            records(exchange, archive).destroy([delivery.digest])
        archive._connection = connection
    with SqliteArchive(crash / "archive.sqlite3") as archive:
        assert archive.sealed_key(delivery.digest) == b""
        assert [entry.digest for entry in archive.unstated()] == [delivery.digest]
        everything = b"".join(file.read_bytes() for file in crash.iterdir())
        assert sealed not in everything
        assert wrap not in everything


def test_somebody_who_reads_the_archive_delays_the_destruction(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infoexchange.database.BUSY_SECONDS", 0.1)
    path = tmp_path / "archive.sqlite3"
    with SqliteArchive(path) as archive:
        delivery = archived(exchange, archive)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM kept").fetchone()
        for ask in (lambda: records(exchange, archive).destroy([delivery.digest]), archive.unstated):
            with pytest.raises(UnavailableError):
                ask()
        reader.close()
        assert [entry.digest for entry in archive.unstated()] == [delivery.digest]


def test_a_file_is_private_and_of_a_known_version(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite3"
    SqliteArchive(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE archive SET version = 9")
    connection.close()
    with pytest.raises(UnavailableError):
        SqliteArchive(path)


def test_a_damaged_document_is_noticed(exchange: Exchange, tmp_path: Path) -> None:
    with SqliteArchive(tmp_path / "archive.sqlite3") as archive:
        delivery = archived(exchange, archive)
        archive._connection.execute("UPDATE document SET raw = x'00'")
        with pytest.raises(UnavailableError):
            archive.find(delivery.digest)


def test_the_archive_key_is_in_the_key_file_and_nowhere_else(exchange: Exchange) -> None:
    identity = exchange.community.members[RECIPIENT].identity
    assert type(identity).parse(identity.raw).archive == identity.archive
    assert len(identity.archive) == suites.CONTENT_KEY_SIZE
    assert repr(identity.archive) not in repr(identity)
