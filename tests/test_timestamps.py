"""A relay has its checkpoints stamped: once an hour, verified before it is kept, and nothing stops the relay."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from conftest import AGENCIES
from exported_logs import talk
from infoexchange.errors import ExchangeError, Reason
from infoexchange.exported import StampedNote, Stamps
from infoexchange.receipt import Receipt
from infoexchange.testing import Exchange, FakeClock
from infoexchange.tlog import Checkpoint
from infoexchange.tsa import TOKEN_SIZE_MAX, TimeQuery
from infoexchange_relay import timestamps
from infoexchange_relay.config import Config
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.timestamps import Timestamps, ask
from patience import LIMIT, attempts, until
from relays import A2, A, Relays, delivered, fetched
from timekeeper import Counter, Timekeeper, timekeeper

HOME = "relay.th.example"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Timekeeper:
    return timekeeper(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def counter(keeper: Timekeeper) -> Iterator[Counter]:
    with Counter(keeper.reply) as opened:
        yield opened


# Asking


def asked(url: str, seconds: float = LIMIT) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        ask(url, b"query", seconds=seconds)
    return caught.value


def test_an_answer_is_what_came(counter: Counter) -> None:
    counter.says = lambda query: b"said of " + query
    assert ask(counter.url, b"query", seconds=LIMIT) == b"said of query"
    counter.says = lambda query: bytes(TOKEN_SIZE_MAX)
    assert len(ask(counter.url, b"query", seconds=LIMIT)) == TOKEN_SIZE_MAX


def test_answers_that_are_none(counter: Counter) -> None:
    counter.says = lambda query: bytes(TOKEN_SIZE_MAX + 1)
    assert asked(counter.url).reason is Reason.TOO_LARGE
    counter.says, counter.status = lambda query: b"", 503
    assert (asked(counter.url).reason, asked(counter.url).detail) == (Reason.UNAVAILABLE, "HTTP status 503")
    counter.status, counter.headers, before = 302, {"Location": counter.url}, counter.asked
    assert (asked(counter.url).detail, counter.asked) == ("HTTP status 302", before + 1)  # nobody is followed

    def nothing(query: bytes) -> bytes:
        raise ConnectionError

    counter.says = nothing
    assert asked(counter.url).reason is Reason.UNAVAILABLE


def test_nobody_there_and_nobody_who_speaks_http() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert asked(f"http://127.0.0.1:{taken.getsockname()[1]}/").detail == "Connection refused"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            with server.accept()[0] as one:
                one.recv(9000)
                one.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        assert asked(f"http://127.0.0.1:{server.getsockname()[1]}/").reason is Reason.UNAVAILABLE
        thread.join()


def test_an_answer_that_never_ends_is_given_up(counter: Counter) -> None:
    """Each byte comes in time, and the whole never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with server.accept()[0] as one, contextlib.suppress(OSError):
                one.recv(9000)
                one.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                for _ in attempts():
                    one.sendall(b".")

        thread = threading.Thread(target=drip)
        thread.start()
        assert asked(f"http://127.0.0.1:{server.getsockname()[1]}/", 0.2).reason is Reason.UNAVAILABLE
        thread.join()


# Keeping


class Stand:
    """A node whose checkpoints are stamped, in a loop that a test turns."""

    def __init__(self, exchange: Exchange, keeper: Timekeeper, url: str, data: Path) -> None:
        self.node = exchange.nodes[HOME]
        self.metrics = Metrics()
        places = dict.fromkeys(
            ("data", "latch", "log_keys", "witness_keys", "tls_key", "tls_certificate", "directory", "roots"), data
        )
        self.config = Config(
            name=HOME, listen="", **places, tsa_url=url, tsa_roots=str(keeper.folder / "roots.pem"), tsa_minutes=60
        )
        self.stamps = Stamps(self.config.timestamps(self.node.ledger.origin))

    def stamping(self) -> Timestamps:
        return Timestamps(self.node, self.config, timestamps.authorities(self.config), self.metrics)

    def look(self) -> float | ExchangeError:
        """Let it look once; return the seconds until the next look, or what went wrong."""
        try:
            return asyncio.run(self.stamping()._look())
        except ExchangeError as problem:
            return problem

    def written(self, when: datetime) -> None:
        """Change the time at which the newest token was kept."""
        token, _ = self.stamps.files(self.stamps.sizes()[-1])
        os.utime(token, (when.timestamp(), when.timestamp()))

    def fails(self) -> Reason:
        before = self.stamps.sizes()
        problem = self.look()
        assert isinstance(problem, ExchangeError)
        assert self.stamps.sizes() == before  # nothing of it is kept
        return problem.reason


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange(AGENCIES, clock=FakeClock(datetime.now(UTC)))
    talk(made)
    return made


@pytest.fixture
def stand(exchange: Exchange, keeper: Timekeeper, counter: Counter, tmp_path: Path) -> Stand:
    return Stand(exchange, keeper, counter.url, tmp_path)


def test_the_newest_cosigned_checkpoint_is_stamped_once_an_hour(
    exchange: Exchange, stand: Stand, counter: Counter
) -> None:
    assert (stand.look(), counter.asked) == (60.0, 0)  # nobody has cosigned anything
    exchange.witness()
    assert stand.look() == 3600.0
    ledger = stand.node.ledger
    size = ledger.cosigned_size
    kept = stand.stamps.read(size)
    assert (stand.stamps.sizes(), kept.note) == ([size], ledger.cosigned())
    assert b"timestamped_entries %.1f" % size in stand.metrics.render()
    exchange.clock.advance(HOUR)
    stand.written(exchange.clock() - HOUR)
    assert (stand.look(), counter.asked) == (60.0, 1)  # the log has not grown
    exchange.clock.advance(-HOUR)
    talk(exchange)
    exchange.witness()
    stand.written(exchange.clock() - HOUR / 4)
    assert (stand.look(), counter.asked) == (2700.0, 1)  # it is not time yet, also where the relay has started anew
    exchange.clock.now = datetime.now(UTC)
    stand.written(exchange.clock() - HOUR)
    assert (stand.look(), counter.asked) == (3600.0, 2)
    assert stand.stamps.sizes() == [size, ledger.cosigned_size]


def test_what_was_stamped_of_a_closed_log_is_not_of_the_next(exchange: Exchange, stand: Stand) -> None:
    exchange.witness()
    before = Stamps(stand.config.timestamps(f"{HOME}/audit/2026h1"))
    before.put(StampedNote(10**6, b"note", b"token"))
    assert stand.look() == 3600.0
    assert (before.sizes(), stand.stamps.sizes()) == ([10**6], [stand.node.ledger.cosigned_size])


def test_a_clock_that_is_wrong_is_noticed_and_delays_nothing(exchange: Exchange, stand: Stand) -> None:
    exchange.witness()
    exchange.clock.advance(HOUR)
    assert stand.fails() is Reason.EXPIRED
    exchange.clock.advance(-2 * HOUR)
    assert stand.fails() is Reason.NOT_YET_VALID
    exchange.clock.now = datetime.now(UTC)
    assert stand.look() == 3600.0
    talk(exchange)
    exchange.witness()
    stand.written(exchange.clock() + 9000 * HOUR)
    assert stand.look() == 3600.0


def test_a_question_that_does_not_end_is_left_behind(
    exchange: Exchange, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a name cannot be looked up: the loop goes on, and no second thread is begun."""
    exchange.witness()
    over, begun = threading.Event(), []

    def stuck(url: str, query: bytes, *, seconds: float) -> bytes:
        begun.append(threading.current_thread())
        over.wait(LIMIT)
        raise ConnectionError

    async def looks() -> list[str]:
        stamping = stand.stamping()
        found = []
        for _ in range(3):
            with pytest.raises(ExchangeError) as caught:
                await stamping._look()
            found.append(caught.value.detail)
        return found

    monkeypatch.setattr(timestamps, "ask", stuck)
    monkeypatch.setattr(timestamps, "_ANSWER_SECONDS", 0.05)
    assert asyncio.run(looks()) == ["no answer within 0 seconds", *2 * ["the last question has not ended yet"]]

    async def ended() -> None:
        stamping = stand.stamping()
        stamping.start()
        while len(begun) < 2:
            await asyncio.sleep(0.01)
        await stamping.close()

    monkeypatch.setattr(timestamps, "_ANSWER_SECONDS", LIMIT)
    asyncio.run(ended())  # a relay that is told to stop does not wait for it either
    assert all(thread.is_alive() for thread in begun)
    over.set()
    for thread in begun:
        thread.join(LIMIT)
        assert thread.daemon
        assert not thread.is_alive()


def test_where_no_other_nation_has_witnesses_the_signed_checkpoint_is_stamped(
    keeper: Timekeeper, counter: Counter, tmp_path: Path
) -> None:
    alone = Exchange({"th": ["desk.oncb"]}, clock=FakeClock(datetime.now(UTC)))
    stand = Stand(alone, keeper, counter.url, tmp_path)
    assert stand.look() == 3600.0
    assert stand.stamps.read(stand.node.ledger.size).note == stand.node.ledger.checkpoint()


def test_what_a_lying_authority_says_is_not_kept(
    exchange: Exchange, stand: Stand, counter: Counter, keeper: Timekeeper
) -> None:
    exchange.witness()
    other = keeper.reply(TimeQuery.make(b"something else").raw)
    for raw, reason in (
        (other, Reason.BAD_PROOF),
        (other[:-1], Reason.MALFORMED),
        (b"", Reason.MALFORMED),
        (b"<html>", Reason.MALFORMED),
        (bytes(TOKEN_SIZE_MAX + 1), Reason.TOO_LARGE),
        (keeper.reply(TimeQuery.make(stand.node.ledger.cosigned()).raw), Reason.REPLAYED),
    ):
        counter.says = lambda query, raw=raw: raw
        assert stand.fails() is reason
    assert not stand.stamps.path.exists()


def test_what_is_not_ours_in_the_folder_and_what_a_crash_left(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path / "timestamps")
    assert (stamps.sizes(), stamps.newest()) == ([], None)
    stamps.put(StampedNote(12, b"note", b"token"))
    for name in ("007.tsr", "x.tsr", "13.checkpoint", ".14.tsr.0011aabb", "9" * 20 + ".tsr", "12.tsr.bak"):
        (stamps.path / name).write_bytes(b"")
    (stamps.path / ".12.tsr.00112233").write_bytes(b"to")
    stamps.put(StampedNote(12, b"note", b"token"))
    assert (stamps.sizes(), stamps.read(12).token) == ([12], b"token")
    assert not (stamps.path / ".12.tsr.00112233").exists()
    (stamps.path / "12.checkpoint").unlink()
    with pytest.raises(ExchangeError, match=r"12\.checkpoint"):
        stamps.read(12)


# A running relay


@pytest.fixture
def relays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relays]:
    for name in ("_LOOK_SECONDS", "_RETRY_SECONDS"):
        monkeypatch.setattr(timestamps, name, 0.1)
    with contextlib.closing(Relays(tmp_path, {"th": ["desk.oncb", "desk.navy"]})) as made:
        yield made


def exchanged(relays: Relays) -> bool:
    """Whether one agency's message is taken and given to the other."""
    sender, recipient = relays.remote(A), relays.remote(A2)
    envelope = relays.seal(A, [A2])
    assert isinstance(sender.submit([envelope.raw])[0], Receipt)
    assert fetched(recipient) == [envelope.digest]
    delivered(recipient, [envelope.digest])
    return fetched(recipient) == []


def test_an_authority_that_is_silent_stops_nothing(
    relays: Relays, keeper: Timekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the question and says nothing; later it is closed; then one answers, and its token is kept."""
    monkeypatch.setattr(timestamps, "_ANSWER_SECONDS", 0.5)
    over = threading.Event()

    def silent(query: bytes) -> bytes:
        over.wait(LIMIT)
        raise ConnectionError

    with structlog.testing.capture_logs() as logs:
        with Counter(silent) as counter:
            config = relays.configs["th"]
            roots = str(keeper.folder / "roots.pem")
            relays.configs["th"] = replace(config, tsa_url=counter.url, tsa_roots=roots)
            relay = relays.start("th")
            relays.publish()
            assert until(lambda: counter.asked)
            assert exchanged(relays)
            assert until(lambda: [entry for entry in list(logs) if entry["event"] == "timestamp_failed"])
            monkeypatch.setattr(timestamps, "_ANSWER_SECONDS", LIMIT)
            counter.says = keeper.reply
            over.set()
            stamps = Stamps(config.timestamps(relay.node.ledger.origin))
            assert until(stamps.sizes)
            assert exchanged(relays)
        size = stamps.sizes()[-1]
        found = stamps.read(size)
        assert Checkpoint.parse(found.note).size == size
        relays.stop("th")
    assert {entry["reason"] for entry in logs if entry["event"] == "timestamp_failed"} == {"unavailable"}
