"""A relay process under attack: honest callers see no error, and its memory stays bounded.

Nothing here says how fast anything is; `make bench-limits` measures that.
"""

from __future__ import annotations

import contextlib
import re
import threading
import urllib.request
from pathlib import Path

import pytest

import onslaught
from infoexchange import Draft, catalogue
from infoexchange.home import Home
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing.sites import Sites, free_ports
from infoexchange.transport import connect, utc_now
from infoexchange.transport.session import reach
from infoexchange_relay.config import load
from messages import handling
from onslaught import ATTACKS, Target
from patience import LIMIT, PATIENT, until

HONEST, RELAY = "desk.honest.th.example", "relay.th.example"
HOSTILE = ("desk.a.th.example", "desk.b.th.example", "desk.c.th.example", "desk.d.th.example")
SECONDS = 0.25  # how long each attack lasts
MIB = 1024 * 1024
MEMORY = 256 * MIB


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onslaught") / "sites"
    agencies = ["desk.honest", *(name.removesuffix(".th.example") for name in HOSTILE)]
    sites = Sites.make(folder, {"th": agencies}, now=utc_now())
    with sites.config(RELAY).open("a") as config:
        config.write(f'metrics_listen = "127.0.0.1:{free_ports(1)[0]}"\n')
    with sites.running():
        yield sites


@pytest.fixture(scope="module")
def honest(sites):
    with reach(Home.open(sites.home(HONEST)), timeout=PATIENT) as remote:
        yield remote


def target(sites: Sites, name: str = "") -> Target:
    """The relay, attacked with the certificate of an agency or without any."""
    tls = Home.open(sites.home(name or HOSTILE[0])).tls
    files = [sites.folder / f"{name}.{part}" for part in ("roots", "chain", "key")]
    for file, content in zip(files, (tls.roots, tls.chain, tls.key), strict=True):
        file.write_bytes(content)
    address = sites.community.directory.party(RELAY, at=utc_now()).address
    return Target(address, RELAY, str(files[0]), *(map(str, files[1:]) if name else ()))


def memory(sites: Sites) -> int:
    """Resident bytes of the relay; it fails when the relay has died."""
    lines = Path(f"/proc/{sites.pid(RELAY)}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("certificate", ["a certificate", "no certificate"])
@pytest.mark.parametrize("name", ATTACKS)
def test_honest_callers_see_no_error(sites, honest, name, certificate):
    aim = target(sites, HOSTILE[0] if certificate == "a certificate" else "")
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(onslaught.attack(name, aim, SECONDS)))
    thread.start()
    calls = 0
    while thread.is_alive() or calls < 3:
        assert honest.checkpoint()
        calls += 1
    thread.join()
    with reach(Home.open(sites.home(HONEST)), timeout=PATIENT) as another:  # and who connects anew is let in
        assert another.checkpoint()
    assert counts
    assert counts[0] > 0 or certificate == "no certificate"
    assert memory(sites) < MEMORY


def test_messages_that_never_end_are_not_collected(sites, honest):
    """100 calls with 8 MiB each: a relay without a gate holds all of it."""
    before = memory(sites)
    taken = onslaught.hoard(target(sites, HOSTILE[1]), 100, 8 * MIB, 128 * MIB)
    assert 0 < taken < 128 * MIB
    assert memory(sites) - before < 192 * MIB
    assert honest.checkpoint()


def test_readers_that_never_read_hold_little(sites, honest):
    for name in HOSTILE:
        with connect(Home.open(sites.home(name)), timeout=PATIENT):
            pass  # which publishes its keys
    with connect(Home.open(sites.home(HONEST)), timeout=PATIENT) as mailbox:
        drafts = [Draft(large_note(number), HOSTILE, suite=HYBRID_KEM) for number in range(12)]
        assert all(isinstance(result, Receipt) for result in mailbox.send_all(drafts))
    before = memory(sites)
    with contextlib.ExitStack() as stack:
        for name in HOSTILE:
            for _ in range(2):
                stack.enter_context(contextlib.closing(onslaught.read_nothing(target(sites, name), 30)))
        until(lambda: calls(sites) >= 60 * len(HOSTILE))
        for _ in range(50):
            assert honest.checkpoint()
        assert memory(sites) - before < 100 * MIB
    # Nothing was lost: whoever reads gets all of it.
    with connect(Home.open(sites.home(HOSTILE[0])), timeout=PATIENT) as mailbox:
        assert len([mailbox.acknowledge(delivery) for delivery in mailbox.receive()]) == 12


def calls(sites: Sites) -> int:
    """Calls under way at the relay, by its own word."""
    address = load(sites.config(RELAY), {}).metrics_listen
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=LIMIT) as answer:
        return int(float(re.search(rb"^infoexchange_relay_calls (\S+)$", answer.read(), re.MULTILINE)[1]))


def large_note(number: int) -> catalogue.RequestForInformation:
    return catalogue.RequestForInformation(
        handling=handling(purpose="a test", foreseen_use="exercise", domain=catalogue.DOMAIN_DRUGS),
        subject=f"number {number}",
        questions=[catalogue.Question(local_id="q1", text="why")],
        background="x" * 15_000,
        subject_refs=["o1"],
        organisations=[catalogue.Organisation(local_id="o1", name="Trading")],
    )
