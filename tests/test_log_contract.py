"""The `Log` port: how two sizes hang together and what is cosigned, in memory and at the other end of a channel."""

from __future__ import annotations

import contextlib

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from desks import Place
from infoexchange.errors import ExchangeError, Reason
from infoexchange.log import log_keys
from infoexchange.quorum import policy_for
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.tlog import Checkpoint, merkle
from messages import officer_acknowledgement

RELAY = "relay.th.example"


class Made:
    """An exchange with a log of some entries, and the port onto it."""

    def __init__(self) -> None:
        self.exchange = Exchange(AGENCIES)
        self.exchange.mailbox(RECIPIENT)
        self.send()
        party = self.exchange.directory.party(RECIPIENT, at=self.exchange.clock())  # any party may read any log
        self.direct = DirectRelay(self.exchange, self.exchange.nodes[RELAY], party)
        self.log = self.direct

    def send(self) -> None:
        self.exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])

    @property
    def hashes(self) -> list[bytes]:
        size = Checkpoint.parse(self.direct.checkpoint()).size
        return [merkle.leaf_hash(leaf) for leaf in self.direct.leaves(0, size)]


@pytest.fixture(params=["memory", "remote"])
def made(request):
    made = Made()
    with contextlib.ExitStack() as stack:
        if request.param == "remote":
            place = stack.enter_context(contextlib.closing(Place()))
            place.desk.answers = {
                "checkpoint": lambda _: made.direct.checkpoint(),
                "cosigned": lambda _: made.direct.cosigned(),
                "consistency": lambda sizes: made.direct.consistency(*sizes),
            }
            made.log = place.remote
        yield made


def test_any_two_sizes_hang_together(made) -> None:
    hashes = made.hashes
    assert len(hashes) > 5
    for size in range(2, len(hashes) + 1):
        for old in range(1, size):
            path = made.log.consistency(old, size)
            assert merkle.prefix_roots(old, size, path) == (merkle.root(hashes[:old]), merkle.root(hashes[:size]))
            # Without the hash that is always named it is the proof of the RFC.
            proof = path[1:] if old & (old - 1) == 0 else path
            merkle.verify_consistency(old, merkle.root(hashes[:old]), size, merkle.root(hashes[:size]), proof)


def test_sizes_that_are_not_there_are_refused(made) -> None:
    newest = len(made.hashes)
    for old, size in ((0, 1), (0, 0), (2, 2), (3, 2), (1, newest + 1), (newest, newest + 1), (newest, newest)):
        with pytest.raises(ExchangeError) as caught:
            made.log.consistency(old, size)
        assert caught.value.reason is Reason.BAD_FIELD


def test_the_newest_cosigned_checkpoint_stays_when_the_log_grows(made) -> None:
    assert made.log.cosigned() == b""
    made.exchange.witness()
    cosigned = Checkpoint.parse(made.log.cosigned())
    cosigned.verify(log_keys(made.exchange.directory, RELAY))
    policy_for(made.exchange.directory, RELAY).verify(cosigned, now=made.exchange.clock())
    assert cosigned.size == len(made.hashes)
    made.send()
    assert Checkpoint.parse(made.log.cosigned()) == cosigned
    assert Checkpoint.parse(made.log.checkpoint()).size > cosigned.size
    made.exchange.witness()
    assert Checkpoint.parse(made.log.cosigned()).size == len(made.hashes)
