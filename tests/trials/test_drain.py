"""Draining: a relay that is told to stop finishes what it has begun, tells everybody, and ends with 0."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infoexchange import Draft
from infoexchange.certificates import to_pem
from infoexchange.errors import ExchangeError, UnavailableError
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing.sites import Sites
from infoexchange.transport import RemoteRelay, connect, open_channel
from patience import LIMIT, PATIENT, until
from test_processes import AGENCIES, RECIPIENTS, SENDER, Inbox, _drain_all, at, publish_keys, request

HERE, THERE = "relay.xa.example", "relay.xb.example"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return Sites.make(tmp_path / "exchange", AGENCIES, now=datetime.now(UTC))


def channel_of(sites: Sites) -> grpc.Channel:
    """The sender's way to its relay."""
    home = at(sites, SENDER)
    party = home.directory.party(HERE, at=datetime.now(UTC))
    roots = b"".join(map(to_pem, home.directory.nation("xa").tls_cas))
    return open_channel(party.address, name=HERE, roots=roots, certificate=home.tls.chain, key=home.tls.key)


class Load:
    """Somebody who sends without a pause, in a thread.

    Attributes:
        acknowledged: Envelopes for which there is a receipt.
        problems: What went wrong otherwise.
    """

    def __init__(self, sites: Sites) -> None:
        self.acknowledged: set[bytes] = set()
        self.problems: list[Exception] = []
        self._sites = sites
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            try:
                with connect(at(self._sites, SENDER)) as mailbox:
                    drafts = [Draft(request(number * 2 + i), RECIPIENTS, suite=HYBRID_KEM) for i in range(2)]
                    results = [*mailbox.flush(), *mailbox.send_all(drafts)]
            except Exception as problem:  # noqa: BLE001  each is looked at afterwards
                self.problems.append(problem)
                time.sleep(0.3)
                continue
            self.acknowledged.update(r.subject.envelope_digest for r in results if isinstance(r, Receipt))
            self.problems += [result for result in results if isinstance(result, ExchangeError)]


def in_thread(call: Callable[[], None], problems: list[Exception]) -> threading.Thread:
    """Run a call that ends when the relay does; what it raises is looked at afterwards."""

    def run() -> None:
        try:
            call()
        except Exception as problem:  # noqa: BLE001  see above
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.timeout(300)  # three starts of a relay, on a machine however slow
def test_a_relay_that_is_told_to_stop(sites):
    inboxes = {name: Inbox() for name in RECIPIENTS}
    log = sites.folder / HERE / "relay.log"
    with sites.running():
        publish_keys(sites)
        with contextlib.closing(channel_of(sites)) as channel:
            statuses: list[int] = []
            ended: list[Exception] = []

            def watch() -> None:
                for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                    statuses.append(answer.status)

            def follow() -> None:
                list(RemoteRelay(channel, timeout=PATIENT, address=HERE).follow())

            watched: list[Exception] = []
            threads = [in_thread(watch, watched), in_thread(follow, ended)]
            with Load(sites) as load:
                until(lambda: len(load.acknowledged) > 4 and statuses)
                # Somebody sends, somebody waits, somebody watches, and the neighbour hangs with what it is handed.
                os.kill(sites.pid(THERE), signal.SIGSTOP)
                try:
                    before = len(load.acknowledged)
                    until(lambda: len(load.acknowledged) > before)
                    process = sites.pid(HERE)
                    os.kill(process, signal.SIGTERM)
                    until(lambda: '"relay_stopping"' in log.read_text())
                    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):  # by somebody without patience
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process, number)
                    codes = sites.stop(HERE)
                finally:
                    os.kill(sites.pid(THERE), signal.SIGCONT)
                until(lambda: load.problems)
            for thread in threads:
                thread.join(LIMIT)
        assert codes == {HERE: 0}
        # Senders got nothing but something to try again; who waited was told, without an error; so was who watches.
        assert {type(problem) for problem in load.problems} == {UnavailableError}
        assert not ended
        assert (statuses[0], statuses[-1]) == (SERVING, NOT_SERVING)
        assert '"relay_stopped"' in log.read_text()
        sites.start(HERE)
        _drain_all(sites, load.acknowledged, inboxes)
    for inbox in inboxes.values():
        assert load.acknowledged <= set(inbox.handed)
        assert len(inbox.handed) == len(set(inbox.handed))
