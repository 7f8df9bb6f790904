"""Processes: the demo's own relays, killed, restarted, and searched for what they must not know."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import postgres
from infoexchange import Draft, catalogue
from infoexchange.errors import ExchangeError, UnavailableError
from infoexchange.home import Home
from infoexchange.mailbox import Mailbox
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing.sites import Sites, environment
from infoexchange.transport import connect
from messages import handling
from patience import attempts

SENDER, RECIPIENTS = "desk.narcotics.xa.example", ("duty.cert.xb.example", "watch.maritime.xb.example")
AGENCIES = {"xa": ["desk.narcotics"], "xb": ["duty.cert", "watch.maritime"]}
RELAYS = ("relay.xa.example", "relay.xb.example")
MARKER = "zebra-quintet-marker"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return Sites.make(tmp_path / "exchange", AGENCIES, now=datetime.now(UTC), store=postgres.store)


def request(number: int, **marks: object) -> catalogue.RequestForInformation:
    return catalogue.RequestForInformation(
        handling=handling(purpose=f"{MARKER} purpose", foreseen_use="exercise", domain=catalogue.DOMAIN_DRUGS, **marks),
        subject=f"{MARKER} {number}",
        questions=[catalogue.Question(local_id="q1", text=f"{MARKER} question")],
        background=f"{MARKER} background",
        subject_refs=["o1"],
        organisations=[catalogue.Organisation(local_id="o1", name=f"{MARKER} Trading")],
    )


def at(sites: Sites, name: str) -> Home:
    return Home.open(sites.home(name))


def publish_keys(sites: Sites) -> None:
    for name in RECIPIENTS:
        with connect(at(sites, name)):
            pass


def checked(sites: Sites, relay: str) -> bool:
    """Whether `infoexchange-relay check` finds the audit log whole."""
    command = [sys.executable, "-m", "infoexchange_relay", "check", "--json", "--config", str(sites.config(relay))]
    done = subprocess.run(command, env=environment(), capture_output=True, check=False, text=True)
    return '{"check": "audit log", "passed": true' in done.stdout


class Inbox:
    """An application that acts once on each message and crashes nowhere itself."""

    def __init__(self) -> None:
        self.handed: list[bytes] = []

    def drain(self, mailbox: Mailbox) -> None:
        for delivery in mailbox.receive():
            if not delivery.repeated:
                self.handed.append(delivery.digest)
            mailbox.acknowledge(delivery)


def test_killed_relays_lose_nothing_and_deliver_nothing_twice(sites: Sites) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    acknowledged: set[bytes] = set()
    inboxes = {name: Inbox() for name in RECIPIENTS}
    stop = threading.Event()

    def send() -> None:
        for batch in itertools.count():
            if stop.is_set():
                return
            try:
                with connect(at(sites, SENDER)) as mailbox:
                    drafts = [Draft(request(batch * 8 + i), RECIPIENTS, suite=HYBRID_KEM) for i in range(8)]
                    results = [*mailbox.flush(), *mailbox.send_all(drafts)]
            except ExchangeError:
                time.sleep(0.05)
                continue
            acknowledged.update(r.subject.envelope_digest for r in results if isinstance(r, Receipt))

    def receive(name: str) -> None:
        while not stop.is_set():
            try:
                with connect(at(sites, name)) as mailbox:
                    inboxes[name].drain(mailbox)
            except ExchangeError:
                time.sleep(0.05)

    with sites.running():
        publish_keys(sites)
        threads = [threading.Thread(target=send), *(threading.Thread(target=receive, args=(n,)) for n in RECIPIENTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                for relay in RELAYS:
                    time.sleep(rng.uniform(0.3, 1.2))
                    sites.kill(relay)
                    sites.start(relay)
            time.sleep(1)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert len(acknowledged) > 8
        _drain_all(sites, acknowledged, inboxes)
    for inbox in inboxes.values():
        assert acknowledged <= set(inbox.handed)
        assert len(inbox.handed) == len(set(inbox.handed))
    assert all(checked(sites, relay) for relay in RELAYS)


def _drain_all(sites: Sites, acknowledged: set[bytes], inboxes: dict[str, Inbox]) -> None:
    """Let the outbox and both queues run dry."""
    with connect(at(sites, SENDER)) as mailbox:
        acknowledged.update(r.subject.envelope_digest for r in mailbox.flush() if isinstance(r, Receipt))
    for _ in attempts():
        for name in RECIPIENTS:
            with connect(at(sites, name)) as mailbox:
                inboxes[name].drain(mailbox)
        if all(acknowledged <= set(inbox.handed) for inbox in inboxes.values()):
            return


def test_the_relays_know_nothing_of_what_they_carry(sites: Sites) -> None:
    """Memory, database, latch, logs and the files beside them hold no plaintext, subject, domain or mark."""
    secrets = [MARKER.encode(), b"RequestForInformation"]
    # The relay has loaded the library's own words for marks; in what it writes they have no place either.
    written = [*secrets, b"infoexchange.catalogue", b"DOMAIN_DRUGS", b"TLP_AMBER", b"TLP:AMBER"]
    with sites.running():
        publish_keys(sites)
        with connect(at(sites, SENDER)) as mailbox:
            for number in range(20):
                mailbox.send(request(number), RECIPIENTS)
        with connect(at(sites, RECIPIENTS[0])) as mailbox:
            Inbox().drain(mailbox)  # the other one's copies stay at the relay
        for relay in RELAYS:
            memory = _memory_of(sites.pid(relay))
            assert len(memory) > 1_000_000
            assert SENDER.encode() in memory  # what a relay may know is found: the search works
            assert [secret for secret in secrets if secret in memory] == []
    for relay in RELAYS:
        for file in sites.config(relay).parent.rglob("*"):
            if file.is_file():
                raw = file.read_bytes()
                assert [word for word in written if word in raw] == [], file


def _memory_of(pid: int) -> bytes:
    """Return every readable private page of a process."""
    parts = []
    try:
        with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
            for line in maps:
                area, rights, *rest = line.split()
                start, end = (int(x, 16) for x in area.split("-"))
                # Code and data of the programs themselves hold their own constants, not messages.
                mapped = len(rest) >= 4 and rest[3].startswith("/")
                if rights.startswith("rw") and not mapped and not line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                    memory.seek(start)
                    parts.append(memory.read(end - start))
    except (FileNotFoundError, PermissionError) as problem:
        pytest.skip(f"memory of a process cannot be read here: {problem}")
    return b"".join(parts)


def test_a_relay_that_is_down_costs_one_line_and_nothing_else(sites: Sites) -> None:
    with pytest.raises(UnavailableError) as caught, connect(at(sites, SENDER)):
        pass
    assert "\n" not in str(caught.value)
    assert at(sites, SENDER).name == SENDER
