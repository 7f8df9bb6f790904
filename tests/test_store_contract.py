"""Store: one contract, kept by the store in memory and by both engines on disk."""

import threading
from datetime import timedelta

import pytest

import postgres
from changes import accepted, change, delivered
from community import NOW, Community
from infoexchange.errors import MalformedError, Reason, RefusedError
from infoexchange.ports import Head, Queue
from infoexchange.states import Event, Precedence
from infoexchange.testing.memory import MemoryStore
from infoexchange.tlog import merkle, tiles
from infoexchange_relay.stores import open_store

COAST_A, COAST_B, POLICE_B = "coast.aa.example", "coast.bb.example", "police.bb.example"


@pytest.fixture(scope="module")
def community():
    return Community()


@pytest.fixture(scope="module")
def server():
    with postgres.running() as started:
        yield started


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
        return
    place = tmp_path / "relay.db" if request.param == "sqlite" else request.getfixturevalue("server").address()
    with open_store(place) as opened:
        yield opened


def events(count, start=0):
    return [change(Event.QUEUED, b"%032d" % i) for i in range(start, start + count)]


def test_an_empty_store(store):
    assert store.head() == Head(0, merkle.root([]))
    assert store.append([]) == []
    assert store.leaves(0, 10) == []
    assert store.history(b"nothing") == []
    assert store.waiting(COAST_A, limit=10) == []
    assert store.envelope(b"nothing") is None
    assert store.bundle(b"nothing") is None
    assert store.bundles([COAST_A]) == []
    assert store.exhibits(Event.DIRECTORY_VERSION) == []


def test_the_tree_grows_with_the_entries(store):
    """Leaves, tiles, size and root move together, over tile borders and in batches of every kind of size."""
    changes, start = events(600), 0
    for size in (1, 2, 253, 1, 300, 43):
        assert store.append(changes[start : start + size]) == list(range(start, start + size))
        start += size
        leaves = [c.entry.leaf for c in changes[:start]]
        assert store.head() == Head(start, merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]))
    assert store.leaves(0, 1000) == leaves
    assert store.leaves(590, 5) == leaves[590:595]
    assert store.leaves(598, 5) == leaves[598:]
    assert store.leaves(600, 5) == []
    # The tiles are those for which every proof of every size is checked against the naive tree (test_tlog_tiles).
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    expected, _ = tiles.extend(0, hashes, lambda level, n: b"")
    assert dict(zip(expected, store.tiles(list(expected)), strict=True)) == expected
    proof = tiles.inclusion_proof(300, start, lambda level, n: store.tiles([(level, n)])[0])
    merkle.verify_inclusion(merkle.leaf_hash(leaves[300]), 300, start, proof, store.head().root)


def test_records_come_in_the_order_asked(store):
    changes = [change(Event.OPENED, b"d%d" % i, COAST_A, exhibit=b"statement %d" % i * (i % 2)) for i in range(5)]
    store.append(changes)
    records = store.records([4, 1, 1])
    assert [(r.index, r.party, r.event) for r in records] == [(i, COAST_A, Event.OPENED) for i in (4, 1, 1)]
    assert [r.exhibit for r in records] == [b"", b"statement 1", b"statement 1"]
    assert records[1].entry == changes[1].entry
    assert records[1].entry.leaf == changes[1].entry.leaf
    assert store.exhibits(Event.OPENED) == [b"statement 1", b"statement 3"]
    assert store.exhibits(Event.REFUSED) == []


@pytest.mark.parametrize("ask", [lambda s: s.records([3]), lambda s: s.records([-1]), lambda s: s.tiles([(1, 0)])])
def test_what_the_log_does_not_have_is_refused(store, ask):
    store.append(events(3))
    with pytest.raises(MalformedError) as caught:
        ask(store)
    assert caught.value.reason is Reason.BAD_FIELD


def test_a_repeat_returns_the_first_index_and_changes_nothing(store, community):
    envelope = community.seal(COAST_A, [COAST_B])
    first = accepted(envelope)
    assert store.append([first, *events(1), accepted(envelope)]) == [0, 1, 0]
    assert store.append([delivered(envelope.digest, COAST_B)]) == [2]
    head = store.head()
    assert store.append([accepted(envelope), delivered(envelope.digest, COAST_B)]) == [0, 2]
    assert store.head() == head
    assert store.waiting(COAST_B, limit=10) == []
    assert store.envelope(envelope.digest) is None


def test_party_and_event_are_part_of_the_key(store):
    keys = [(Event.QUEUED, ""), (Event.QUEUED, COAST_A), (Event.DELIVERED, COAST_A), (Event.DELIVERED, COAST_B)]
    assert store.append([change(event, b"one", party) for event, party in keys]) == [0, 1, 2, 3]
    store.append(events(1))
    assert store.append([change(Event.OPENED, b"one", COAST_A)]) == [5]
    assert store.history(b"one") == [0, 1, 2, 3, 5]


def test_a_claim_belongs_to_one_digest(store):
    """Only the item that comes second is refused, in the same batch and in a later one; it leaves no gap."""
    claimed = [change(Event.ACCEPTED, digest, claim=b"id") for digest in (b"one", b"two")]
    results = store.append([claimed[0], claimed[1], *events(1)])
    assert (results[0], results[2]) == (0, 1)
    assert isinstance(results[1], RefusedError)
    assert results[1].reason is Reason.REPLAYED
    again, own = store.append([claimed[1], change(Event.FORWARDED, b"one", claim=b"id")])
    assert again.reason is Reason.REPLAYED
    assert own == 2
    assert store.history(b"two") == []


def test_an_envelope_is_kept_until_nobody_waits(store, community):
    envelope = community.seal(COAST_A, [COAST_B, POLICE_B])
    store.append([accepted(envelope)])
    assert [w.raw for w in store.waiting(COAST_B, limit=10)] == [envelope.raw]
    store.append([delivered(envelope.digest, COAST_B)])
    assert store.waiting(COAST_B, limit=10) == []
    assert store.envelope(envelope.digest) == envelope.raw
    assert [(w.party, w.digest) for w in store.waiting(POLICE_B, limit=10)] == [(POLICE_B, envelope.digest)]
    store.append([delivered(envelope.digest, POLICE_B)])
    assert store.envelope(envelope.digest) is None


def test_queues_are_counted_by_party_and_precedence_with_their_oldest(store, community):
    assert store.queues() == []
    late, early, urgent = (
        community.seal(COAST_A, [COAST_B, POLICE_B], precedence=p)
        for p in (Precedence.ROUTINE, Precedence.ROUTINE, Precedence.FLASH)
    )
    store.append([change(Event.QUEUED, b"before"), accepted(early), accepted(late), accepted(urgent, COAST_B)])
    store.append([delivered(early.digest, COAST_B)])
    assert store.queues() == [
        Queue(COAST_B, Precedence.ROUTINE, 1, 2),
        Queue(COAST_B, Precedence.FLASH, 1, 3),
        Queue(POLICE_B, Precedence.ROUTINE, 2, 1),
    ]
    # What nobody waited for any more is brought by another entry when it comes back.
    store.append([delivered(urgent.digest, COAST_B)])
    store.append([change(Event.QUEUED, urgent.digest, COAST_B, starts=(COAST_B,), envelope=urgent)])
    assert store.queues()[1] == Queue(COAST_B, Precedence.FLASH, 1, 6)


def test_an_envelope_that_nobody_waits_for_is_not_kept(store, community):
    envelope = community.seal(COAST_A, [COAST_B])
    store.append([change(Event.ACCEPTED, envelope.digest, envelope=envelope)])
    assert store.envelope(envelope.digest) is None


def test_a_party_can_start_waiting_for_a_stored_envelope(store, community):
    envelope = community.seal(COAST_A, [COAST_B, POLICE_B])
    store.append([accepted(envelope, COAST_B)])
    moved = change(Event.FORWARDED, envelope.digest, COAST_B, stops=(COAST_B,), starts=(POLICE_B,))
    store.append([moved])
    assert store.waiting(COAST_B, limit=10) == []
    assert [w.raw for w in store.waiting(POLICE_B, limit=10)] == [envelope.raw]
    # Starting twice is waiting once.
    store.append([change(Event.QUEUED, envelope.digest, POLICE_B, starts=(POLICE_B,))])
    assert len(store.waiting(POLICE_B, limit=10)) == 1


def test_moves_within_one_batch(store, community):
    stopped, back = (community.seal(COAST_A, [COAST_B]) for _ in range(2))
    store.append([accepted(back)])
    store.append(
        [
            accepted(stopped),
            delivered(stopped.digest, COAST_B),
            delivered(back.digest, COAST_B),
            change(Event.QUEUED, back.digest, COAST_B, starts=(COAST_B,)),
        ]
    )
    assert [w.digest for w in store.waiting(COAST_B, limit=10)] == [back.digest]
    assert store.envelope(stopped.digest) is None


def test_a_batch_happens_whole_or_not_at_all(store):
    store.append(events(2))
    head = store.head()
    orphan = change(Event.QUEUED, b"unknown", COAST_A, starts=(COAST_A,))
    with pytest.raises(ValueError, match="not stored"):
        store.append([*events(3, start=2), orphan])
    assert store.head() == head
    assert store.leaves(0, 10) == store.leaves(0, 2)
    assert store.append(events(3, start=2)) == [2, 3, 4]


def test_the_queue_is_ordered_by_precedence_then_arrival(store, community):
    order = [Precedence.ROUTINE, Precedence.FLASH, Precedence.PRIORITY, Precedence.FLASH, Precedence.ROUTINE]
    envelopes = [community.seal(COAST_A, [COAST_B], precedence=p) for p in order]
    for envelope in envelopes:
        store.append([accepted(envelope)])
    expected = [envelopes[i].digest for i in (1, 3, 2, 0, 4)]
    found = store.waiting(COAST_B, limit=10)
    assert [w.digest for w in found] == expected
    assert [w.digest for w in store.waiting(COAST_B, limit=2)] == expected[:2]
    skip = {found[0].position, found[2].position}
    assert [w.digest for w in store.waiting(COAST_B, limit=2, skip=skip)] == [expected[1], expected[3]]
    everything = [w.position for w in found] + list(range(10**6, 10**6 + 40_000))
    assert store.waiting(COAST_B, limit=2, skip=everything) == []


def test_a_position_is_never_given_twice(store, community):
    """Whoever skips a position must not miss what comes later."""
    seen = set()
    for _ in range(3):
        envelope = community.seal(COAST_A, [COAST_B])
        store.append([accepted(envelope)])
        (waiting,) = store.waiting(COAST_B, limit=10)
        assert waiting.position not in seen
        seen.add(waiting.position)
        store.append([delivered(envelope.digest, COAST_B)])


def test_expired_envelopes_are_found(store, community):
    late, early, never = (
        community.seal(COAST_A, [COAST_B, POLICE_B], lifetime=timedelta(hours=hours)) for hours in (2, 1, 9)
    )
    store.append([accepted(late), accepted(early), accepted(never, COAST_B)])
    assert store.expired(NOW + timedelta(hours=1), limit=10) == []
    found = store.expired(NOW + timedelta(hours=3), limit=10)
    expected = [(e.digest, party) for e in (early, late) for party in (COAST_B, POLICE_B)]
    assert [(w.digest, w.party) for w in found] == expected
    assert found[0].raw == early.raw
    assert store.expired(NOW + timedelta(hours=3), limit=1) == found[:1]


def test_bundles_by_owner_and_digest(store, community):
    first, other = community.bundles[COAST_A], community.bundles[COAST_B]
    identity, later = community.made.members[COAST_A].identity, NOW + timedelta(days=1)
    second = type(first).issue(identity, first.certificates, first.crls, now=later)
    store.append([change(Event.KEY_BUNDLE, b.digest, b.owner, exhibit=b.raw, bundle=b) for b in (first, other, second)])
    found = store.bundle(first.digest)
    assert (found.raw, found.certificates, found.crls) == (first.raw, first.certificates, first.crls)
    found.verify(community.directory, now=NOW)
    # Of one epoch the newest comes first; owners come in the order asked.
    names = [COAST_B, "nobody.aa.example", COAST_A]
    assert [b.digest for b in store.bundles(names)] == [other.digest, second.digest, first.digest]
    assert store.exhibits(Event.KEY_BUNDLE) == [first.raw, other.raw, second.raw]


def test_racing_writers_share_one_log(store):
    """Each change is offered by every thread; one index is given, once."""
    changes, results = events(200), []

    def offer(shift):
        order = changes[shift:] + changes[:shift]
        for i in range(0, len(order), 10):
            results.extend(zip((c.digest for c in order[i : i + 10]), store.append(order[i : i + 10]), strict=True))
            assert store.head().size <= len(changes)
            assert store.leaves(0, 1000)

    threads = [threading.Thread(target=offer, args=(50 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 * len(changes)
    given = dict(results)
    assert sorted(given.values()) == list(range(len(changes)))
    assert all(given[digest] == index for digest, index in results)
    hashes = [merkle.leaf_hash(leaf) for leaf in store.leaves(0, 1000)]
    assert store.head() == Head(len(changes), merkle.root(hashes))
