"""Fixtures: a community in memory, made once for each test that changes it and once for all that only read."""

from __future__ import annotations

import pytest

from infoexchange.testing import Exchange

SENDER, RECIPIENT, SECOND = "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example"
AGENCIES = {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]}


@pytest.fixture
def exchange() -> Exchange:
    """A fresh exchange of two nations with two agencies each."""
    return Exchange(AGENCIES)


@pytest.fixture(scope="session")
def shared_exchange() -> Exchange:
    """One exchange for tests that only read from it."""
    return Exchange(AGENCIES)
