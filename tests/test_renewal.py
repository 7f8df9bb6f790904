"""A running relay takes newer directory versions from its file, from callers and from its peers, and nothing else."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
import structlog

from infoexchange import certificates
from infoexchange.audit import Routing, Subject
from infoexchange.certificates import NationalCa
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import Reason
from infoexchange.keys import SigningKey
from infoexchange.listing import Nation, Party, Role, RootKey, Roots
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import DEFAULT_SUITE
from infoexchange.testing.community import enrol
from infoexchange.transport import RemoteRelay
from infoexchange.v1 import relay_pb2, relay_pb2_grpc
from infoexchange_relay import renewal
from patience import LIMIT, PATIENT, until
from relays import A2, AGENCIES, A, B, Relays, delivered, fetched, raised

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(renewal, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(renewal, "_ASK_SECONDS", 3600.0)


@pytest.fixture
def fresh(tmp_path):
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def successor(relays, after=None, *, signers=None, **fields) -> Directory:
    """The next version, with other values for some fields; signed by two root keys unless others are named."""
    return Directory.held(signed(relays, after or relays.directory, signers, **fields))


def signed(relays, after, signers=None, **fields) -> bytes:
    listing = replace(after.listing, version=after.version + 1, previous=after.digest, **fields)
    return Directory.sign(listing.payload, signers or relays.community.root_keys[:2])


def content_digest(raw):
    return Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=2**22).digest


def put(relays, code, raw):
    """Replace a relay's file, as an operator does."""
    file = relays.configs[code].directory
    file.with_suffix(".new").write_bytes(raw)
    file.with_suffix(".new").replace(file)


def entries(relay):
    """Event and directory digest of every entry, in log order."""
    store = relay.node.store
    records = store.records(range(store.head().size))
    return [(r.event, Subject.parse(r.entry.message).directory_digest, Routing.parse(r.entry.routing)) for r in records]


def test_a_version_in_the_file_is_adopted_while_calls_go_on(fresh):
    relay = fresh.start("th")
    sender, recipient = fresh.remote(A), fresh.remote(A2)
    sender.publish([fresh.community.members[A].bundle])
    stream = recipient.follow()
    envelopes = [fresh.seal(A, [A2]) for _ in range(60)]
    results = []
    thread = threading.Thread(target=lambda: results.extend(r for e in envelopes for r in sender.submit([e.raw])))
    thread.start()
    until(lambda: results)
    two = successor(fresh)
    put(fresh, "th", two.raw)
    until(lambda: relay.node.directory.version == 2)
    three = successor(fresh, two)
    put(fresh, "th", three.raw)
    until(lambda: relay.node.directory.version == 3)
    thread.join()
    last = fresh.seal(A, [A2])
    sender.submit([last.raw])
    assert all(isinstance(result, Receipt) for result in results)  # nobody was refused
    seen = {raw for _, raw in zip(range(61), (raw for frame in stream for raw in frame), strict=False)}
    assert len(seen) == 61  # and the stream that was open stays open
    stream.close()
    assert sender.directories(1) == [two.raw, three.raw]
    # Every entry names the version that the log says was in force.
    in_force, used = b"", set()
    for event, digest, _ in entries(relay):
        in_force = digest if event in (Event.LOG_GENESIS, Event.DIRECTORY_VERSION) else in_force
        assert digest == in_force
        used.add(digest)
    assert used == {fresh.directory.digest, two.digest, three.digest}


def test_what_one_holder_or_the_host_puts_there_changes_nothing(fresh):
    relay, listing = fresh.start("th"), fresh.directory.listing
    one, two, _ = fresh.community.root_keys
    own = SigningKey.make(DEFAULT_SUITE)
    taken_over = Roots(1, (RootKey(own.public, "host"),))
    wicked = {
        "one holder": (signed(fresh, fresh.directory, [one]), Reason.BAD_SIGNATURE),
        "one holder twice": (signed(fresh, fresh.directory, [one, one]), Reason.BAD_SIGNATURE),
        "the host": (signed(fresh, fresh.directory, [own], roots=taken_over), Reason.BAD_SIGNATURE),
        "host and one holder": (signed(fresh, fresh.directory, [own, one], roots=taken_over), Reason.BAD_SIGNATURE),
        "a version left out": (signed(fresh, successor(fresh)), Reason.DIRECTORY_ROLLBACK),
        "another version 1": (
            Directory.sign(replace(listing, expires_at=listing.expires_at + DAY).payload, [one, two]),
            Reason.LOG_FORK,
        ),
        "after another version 1": (
            Directory.sign(replace(listing, version=2, previous=bytes(32)).payload, [one, two]),
            Reason.LOG_FORK,
        ),
        "a content nobody signed": (listing.payload, None),
        "nothing": (b"", None),
    }
    with structlog.testing.capture_logs() as logs:
        for count, (raw, _) in enumerate(wicked.values(), 1):
            put(fresh, "th", raw)
            until(lambda count=count: len([e for e in logs if e["event"] == "directory_refused"]) == count)
    reasons = [entry["reason"] for entry in logs if entry["event"] == "directory_refused"]
    assert all(
        reason is None or said == reason.word for said, (_, reason) in zip(reasons, wicked.values(), strict=True)
    )
    assert relay.node.directory.digest == fresh.directory.digest
    assert [event for event, _, _ in entries(relay)] == [
        Event.LOG_GENESIS,
        Event.DIRECTORY_VERSION,
        Event.CONFIG_CHANGE,
    ]
    # Both second histories are kept: enough holders signed them, and must explain it.
    kept = [Directory.held(file.read_bytes()) for file in (fresh.configs["th"].data / "forks").iterdir()]
    assert {d.digest for d in kept} == {content_digest(wicked[name][0]) for name in list(wicked)[5:7]}
    # The relay works as before, and takes the right one afterwards.
    put(fresh, "th", successor(fresh).raw)
    until(lambda: relay.node.directory.version == 2)


def test_a_look_can_be_asked_for(fresh, monkeypatch):
    monkeypatch.setattr(renewal, "_LOOK_SECONDS", 3600.0)
    relay = fresh.start("th")
    put(fresh, "th", successor(fresh).raw)
    fresh.call(relay.look_now)  # as a signal does, in the relay's loop
    until(lambda: relay.node.directory.version == 2)


def test_at_start_the_log_weighs_more_than_the_files(fresh):
    relay = fresh.start("th")
    two = successor(fresh)
    put(fresh, "th", two.raw)
    until(lambda: relay.node.directory.version == 2)
    fresh.stop("th")
    config, one = fresh.configs["th"], fresh.community.root_keys[0]
    own = SigningKey.make(DEFAULT_SUITE)
    roots = Roots(1, (RootKey(own.public, "host"),))
    takeover = signed(fresh, two, [own], roots=roots)
    for directory, anchor, reason in (
        (signed(fresh, two, [one]), fresh.community.roots, Reason.BAD_SIGNATURE),
        (takeover, fresh.community.roots, Reason.BAD_SIGNATURE),
        (takeover, roots, Reason.BAD_SIGNATURE),  # even where the host has changed the trust anchor as well
        (signed(fresh, successor(fresh, two)), fresh.community.roots, Reason.DIRECTORY_ROLLBACK),
        (signed(fresh, fresh.directory, suites=(2,)), fresh.community.roots, Reason.LOG_FORK),
    ):
        put(fresh, "th", directory)
        config.roots.write_bytes(anchor.raw)
        assert raised(lambda: fresh.start("th")).reason is reason
    [kept] = (config.data / "forks").iterdir()
    assert Directory.held(kept.read_bytes()).listing.suites == (2,)
    # An older version that was in force here is no harm: newer ones may have come from a peer.
    put(fresh, "th", fresh.directory.raw)
    assert fresh.start("th").node.directory.digest == two.digest


def test_any_party_publishes_and_peers_fetch(fresh, monkeypatch):
    monkeypatch.setattr(renewal, "_ASK_SECONDS", 0.2)
    th, vn = fresh.start("th"), fresh.start("vn")
    agency = fresh.remote(A)
    two = successor(fresh)
    receipt = agency.publish_directory(two.raw)
    receipt.verify(two)
    assert (receipt.routing.event, receipt.subject.directory_digest) == (Event.DIRECTORY_VERSION, two.digest)
    assert agency.publish_directory(two.raw).leaf == receipt.leaf  # the same again is the same entry
    until(lambda: vn.node.directory.version == 2)
    # One signature, an older version, a jump and junk are refused; the version in force stays.
    for raw, reason in (
        (signed(fresh, two, fresh.community.root_keys[:1]), Reason.BAD_SIGNATURE),
        (fresh.directory.raw, Reason.DIRECTORY_ROLLBACK),
        (signed(fresh, successor(fresh, two)), Reason.DIRECTORY_ROLLBACK),
        (signed(fresh, fresh.directory, suites=(2,)), Reason.LOG_FORK),
        (b"junk", Reason.MALFORMED),
        (b"", Reason.BAD_FIELD),
    ):
        assert agency.publish_directory(raw).reason is reason
    assert (th.node.directory.version, vn.node.directory.version) == (2, 2)
    # A relay that missed two versions catches up from a peer, one after the other, though its file is too new.
    fresh.stop("vn")
    three = successor(fresh, two)
    four = successor(fresh, three)
    assert all(isinstance(agency.publish_directory(d.raw), Receipt) for d in (three, four))
    vn = fresh.start("vn")
    put(fresh, "vn", four.raw)
    until(lambda: vn.node.directory.version == 4)


def test_relays_that_were_given_different_versions_find_out(fresh, monkeypatch):
    monkeypatch.setattr(renewal, "_ASK_SECONDS", 0.2)
    ours, theirs = successor(fresh), successor(fresh, suites=(2,))
    put(fresh, "th", ours.raw)
    put(fresh, "vn", theirs.raw)
    fresh.configs["th"].roots.write_bytes(fresh.community.roots.raw)
    with structlog.testing.capture_logs() as logs:
        th, vn = fresh.start("th"), fresh.start("vn")
        refused = lambda: {e["source"] for e in logs if e.get("reason") == "log_fork"}  # noqa: E731
        until(lambda: refused() == {"relay.th.example", "relay.vn.example"})
        until(lambda: len([e for e in logs if e["event"] == "directory_fork_kept"]) == 2)
    for code, other in (("th", theirs), ("vn", ours)):
        [file] = (fresh.configs[code].data / "forks").iterdir()
        assert Directory.held(file.read_bytes()).digest == other.digest
    assert (th.node.directory.digest, vn.node.directory.digest) == (ours.digest, theirs.digest)


def test_members_come_and_go_without_a_restart(fresh):
    relay = fresh.start("th")
    listing = fresh.directory.listing
    ca = NationalCa.make("la.example", now=fresh.now)
    newcomer = "desk.la.example"
    nation = Nation(
        code="la", suffix="la.example", member_from=fresh.now, identity_cas=(ca.certificate,), tls_cas=(ca.certificate,)
    )
    party = Party(name=newcomer, nation="la", role=Role.AGENCY, relay="relay.th.example", domains=(1, 2))
    key, certificate = fresh.tls(newcomer, ca=ca)
    stranger = RemoteRelay(fresh.channel("th", key=key, certificate=certificate), timeout=PATIENT)
    assert raised(stranger.checkpoint).reason is Reason.UNAVAILABLE  # not even a connection
    gone = fresh.remote(A2)
    assert gone.checkpoint()
    parties = (*(p for p in listing.parties if p.name != A2), party)
    groups = tuple(replace(g, members=tuple(m for m in g.members if m != A2)) for g in listing.groups)
    two = successor(fresh, nations=(*listing.nations, nation), parties=parties, groups=groups)
    put(fresh, "th", two.raw)
    until(lambda: relay.node.directory.version == 2)
    welcome = RemoteRelay(fresh.channel("th", key=key, certificate=certificate), timeout=PATIENT)
    assert welcome.directories(1) == [two.raw]
    member = enrol(newcomer, ca, fresh.now)
    assert isinstance(welcome.publish([member.bundle])[0], Receipt)
    assert raised(gone.checkpoint).reason is Reason.UNKNOWN_PARTY  # also on the connection it had


def test_a_relay_that_moves_gets_what_waits_for_it(fresh):
    relay = fresh.start("th")
    sender = fresh.remote(A)
    sender.publish([fresh.community.members[A].bundle])
    envelope = fresh.seal(A, [B])
    assert isinstance(sender.submit([envelope.raw])[0], Receipt)
    # The other relay comes up at an address that only version 2 knows.
    old, new = fresh.addresses["vn"], fresh.addresses["vn"].replace("127.0.0.1", "localhost")
    parties = tuple(replace(p, address=new) if p.address == old else p for p in fresh.directory.listing.parties)
    two = successor(fresh, parties=parties)
    put(fresh, "vn", two.raw)
    put(fresh, "th", two.raw)
    until(lambda: relay.node.directory.version == 2)
    fresh.start("vn")
    recipient = fresh.remote(B)
    until(lambda: fetched(recipient) == [envelope.digest])
    delivered(recipient, [envelope.digest])


def test_a_caller_that_leaves_stops_nothing_halfway(fresh, monkeypatch):
    relay = fresh.start("th")
    two = successor(fresh)
    begun, slow = threading.Event(), threading.Event()
    succeed = Directory.succeed

    def held_up(self, raw):
        begun.set()
        return slow.wait(LIMIT) and succeed(self, raw)

    monkeypatch.setattr(Directory, "succeed", held_up)
    request = relay_pb2.PublishDirectoryRequest(directory=two.raw)
    bulletin = relay_pb2_grpc.BulletinServiceStub(fresh.channel("th", A))
    call = bulletin.PublishDirectory.future(request, timeout=LIMIT)
    assert begun.wait(LIMIT)
    call.cancel()
    # Meanwhile the same caller gets no second one looked at.
    assert fresh.remote(A).publish_directory(b"junk").reason is Reason.OVERLOADED
    slow.set()
    until(lambda: relay.node.directory.version == 2)
    assert entries(relay)[-1][1] == two.digest


def test_what_ends_soon_is_in_the_log(fresh, monkeypatch):
    config = fresh.configs["th"]
    near = replace(fresh.directory.listing, expires_at=fresh.now + 20 * DAY)
    config.directory.write_bytes(Directory.sign(near.payload, fresh.community.root_keys[:2]))
    key = certificates.tls_key()
    request = certificates.tls_request("relay.th.example", key)
    short = fresh.community.cas["th"].issue(request, now=fresh.now, lifetime=5 * DAY)
    config.tls_key.write_bytes(key)
    config.tls_certificate.write_bytes(certificates.to_pem(short))
    with structlog.testing.capture_logs() as logs:
        fresh.start("th")
        until(lambda: len([entry for entry in logs if entry["event"] == "ends_soon"]) >= 2)
    soon = [e for e in logs if e["event"] == "ends_soon" and "half-year" not in e["what"]]  # that one depends on today
    found = [(e["what"], e["days"], e["log_level"]) for e in soon]
    assert found == [("TLS certificate", 4, "error"), ("Directory version 1", 19, "warning")]


def test_the_channel_needs_a_certificate_under_the_new_version_too(fresh):
    """The list of CAs is asked for anew for each connection: nobody without a certificate gets in after a change."""
    relay = fresh.start("th")
    put(fresh, "th", successor(fresh).raw)
    until(lambda: relay.node.directory.version == 2)
    with contextlib.closing(
        grpc.secure_channel(
            fresh.addresses["th"],
            grpc.ssl_channel_credentials(certificates.to_pem(fresh.community.cas["th"].certificate)),
            options=[("grpc.ssl_target_name_override", "relay.th.example")],
        )
    ) as channel:
        assert raised(RemoteRelay(channel, timeout=timedelta(seconds=3)).checkpoint).reason is Reason.UNAVAILABLE
