"""Needs: who needs which attachment, in memory and in the store's own tables."""

from datetime import timedelta

import pytest

from blobs import ciphertext
from changes import change
from community import Community
from infoexchange.chunks import Blob
from infoexchange.states import Event
from infoexchange.testing import MemoryStore
from infoexchange_relay.stores import open_store

OWNER, OTHER = "coast.aa.example", "coast.bb.example"
_, REF = ciphertext(size=1000)
BLOB = Blob(OWNER, REF.ct_root)


@pytest.fixture(scope="module")
def community():
    return Community()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
    else:
        with open_store(tmp_path / "relay.db") as opened:
            yield opened


def accepted(envelope, *starts, blobs=(BLOB,)):
    return change(Event.ACCEPTED, envelope.digest, envelope=envelope, starts=starts, blobs=blobs)


def test_a_need_lasts_until_the_partys_end(store, community):
    envelope = community.seal("coast.aa.example", ["coast.bb.example", "police.bb.example"])
    second, later = Blob(OWNER, b"2" * 32), community.now + timedelta(days=1)
    needs = store.needs
    assert needs.known([BLOB]) == [False]
    store.append([accepted(envelope, "coast.bb.example", "relay.bb.example", blobs=(BLOB, second))])
    assert needs.known([BLOB, second, Blob(OTHER, REF.ct_root)]) == [True, True, False]
    assert needs.readable("coast.bb.example", REF.ct_root) == BLOB
    assert needs.readable("relay.bb.example", b"2" * 32) == second
    assert needs.readable("police.bb.example", REF.ct_root) is None
    assert needs.readable("coast.bb.example", b"3" * 32) is None
    store.append([change(Event.DELIVERED, envelope.digest, "coast.bb.example", stops=("coast.bb.example",))])
    assert needs.readable("coast.bb.example", REF.ct_root) == BLOB
    store.append([change(Event.OPENED, envelope.digest, "coast.bb.example")])
    assert needs.readable("coast.bb.example", REF.ct_root) is None
    assert needs.over(later, limit=9) == []
    store.append([change(Event.FORWARDED, envelope.digest, "relay.bb.example", stops=("relay.bb.example",))])
    assert sorted(needs.over(later, limit=9)) == sorted([BLOB, second])
    assert len(needs.over(later, limit=1)) == 1
    assert needs.known([BLOB]) == [True]
    needs.forget([BLOB], later)
    assert needs.known([BLOB, second]) == [False, True]
    assert needs.over(later, limit=9) == [second]


def test_a_final_event_for_nobody_in_particular_ends_every_need(store, community):
    envelope = community.seal("coast.aa.example", ["coast.bb.example", "police.bb.example"])
    store.append([accepted(envelope, "coast.bb.example", "police.bb.example")])
    store.append([change(Event.RECALLED, envelope.digest)])
    assert store.needs.over(community.now, limit=9) == [BLOB]


def test_two_envelopes_may_need_one_attachment(store, community):
    first, second = (community.seal("coast.aa.example", ["coast.bb.example"]) for _ in range(2))
    store.append([accepted(first, "coast.bb.example"), accepted(second, "coast.bb.example"), accepted(first)])
    store.append([change(Event.OPENED, first.digest, "coast.bb.example")])
    assert store.needs.readable("coast.bb.example", REF.ct_root) == BLOB
    store.needs.forget([BLOB], community.now)  # only what is over
    assert store.needs.known([BLOB]) == [True]
    store.append([change(Event.REFUSED, second.digest, "coast.bb.example")])
    assert store.needs.over(community.now, limit=9) == [BLOB]


def test_needs_end_with_the_envelopes_time(store, community):
    envelope = community.seal("coast.aa.example", ["coast.bb.example"])
    store.append([accepted(envelope, "coast.bb.example")])
    end = envelope.header.expires_at
    assert store.needs.over(end, limit=9) == []
    assert store.needs.over(end + timedelta(milliseconds=1), limit=9) == [BLOB]
    store.needs.forget([BLOB], end + timedelta(milliseconds=1))
    assert store.needs.known([BLOB]) == [False]
