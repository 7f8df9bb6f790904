"""Fixtures: a community in memory, made once for each test that changes it and once for all that only read."""

from __future__ import annotations

import signal

import pytest

from infoexchange import suites
from infoexchange.testing import Exchange
from infoexchange.testing.national import EXAMPLE

# A shell that starts tests in the background has interrupts ignored, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# As a program of that nation would: when it starts, before any suite is used.
suites.register(EXAMPLE)
EVERY_SUITE = (*suites.SUITES.values(), EXAMPLE)

# They take longest and mostly wait: begun last, they would be waited for by everybody.
LONGEST = (
    "test_nodes.py",
    "test_demo.py",
    "test_mutants.py",
    "test_attacks.py",
)

SENDER, RECIPIENT, SECOND = "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example"
AGENCIES = {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture
def exchange() -> Exchange:
    """A fresh exchange of two nations with two agencies each."""
    return Exchange(AGENCIES)


@pytest.fixture(scope="session")
def shared_exchange() -> Exchange:
    """One exchange for tests that only read from it."""
    return Exchange(AGENCIES)


@pytest.fixture(scope="session")
def wide_exchange() -> Exchange:
    """The same in which everybody offers and accepts every suite, the national example too."""
    return Exchange(AGENCIES, suites=EVERY_SUITE)
