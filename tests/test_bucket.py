"""A bucket on a real S3 server, on a day when it breaks, is full, is slow, forgets or lies."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

import buckets
from blobs import ciphertext
from infoexchange.attachment import BLOCK_SIZE, sealed_length, verify_block
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason
from infoexchange_relay.stores import open_depot
from lines import Fault, line_to
from patience import LIMIT

module = pytest.importorskip("infoexchange_relay.stores.bucket", exc_type=ImportError)
depots = pytest.importorskip("infoexchange_relay.stores.bucket_depot", exc_type=ImportError)

OWNER = "coast.aa.example"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SIZE = sealed_length(BLOCK_SIZE + 1000)  # two blocks
DATA, REF = ciphertext(size=SIZE)
BLOB = Blob(OWNER, REF.ct_root)
BLOCK_PUT = "/data/"


@pytest.fixture(scope="module")
def line():
    with buckets.running() as url, line_to(url) as line:
        yield line


@pytest.fixture
def bucket(line):
    line.faults.clear()
    yield module.Bucket(buckets.place(line.url))
    line.faults.clear()


@pytest.fixture
def depot(bucket, tmp_path):
    return depots.BucketDepot(
        bucket, "relay.aa.example", folder=tmp_path, quota=2**30, skew=timedelta(0), clock=lambda: NOW
    )


def write(depot, data=DATA, *, offset=0, ref=REF):
    writing = depot.begin(Blob(OWNER, ref.ct_root), ref.ct_length, offset)
    try:
        for start in range(0, len(data), 400_000):
            writing.add(data[start : start + 400_000])
    except ExchangeError:
        writing.close()
        raise
    return writing.close()


def read(depot, ref=REF):
    blob = Blob(OWNER, ref.ct_root)
    return b"".join(verify_block(ref, block.index, block) for block in depot.read(blob, 0, ref.ct_length))


def refused(call):
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value


def goes_on(depot):
    """Write what is missing, and read it all."""
    there = depot.length(BLOB, SIZE)
    assert write(depot, DATA[there:], offset=there) == SIZE
    assert depot.claim(BLOB, SIZE, now=NOW)
    assert read(depot) == DATA
    return there


@pytest.mark.parametrize("count", [1, 5])
def test_trees_of_several_shapes(depot, count):
    data, ref = ciphertext(count, (count - 1) * BLOCK_SIZE + 1000)
    assert write(depot, data, ref=ref) == ref.ct_length
    assert read(depot, ref) == data


def test_objects(bucket):
    assert bucket.get("a") is None
    bucket.put("a", b"0123456789")
    assert (bucket.get("a"), bucket.get("a", 3, 4), bucket.get("a", 8, 9)) == (b"0123456789", b"3456", b"89")
    assert bucket.get("a", 10, 5) is None
    for key in ("f/2/x", "f/1/x", "f/1/y", "g"):
        bucket.put(key, b"")
    assert list(bucket.names("f/")) == ["f/1/x", "f/1/y", "f/2/x"]
    assert list(bucket.names("f/", limit=1)) == ["f/1/x"]
    assert list(bucket.folders("f/")) == ["1", "2"]
    bucket.delete(["a", "g", "none"])
    assert list(bucket.names("")) == ["f/1/x", "f/1/y", "f/2/x"]
    bucket.delete([])


def test_long_lists_and_deletions_come_in_parts(bucket, line, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 2)
    for number in range(5):
        bucket.put(f"n/{number}", b"")
    real = module._client(line.url, "us-east-1").list_objects_v2
    calls = []

    def paged(**options):
        calls.append(options)
        return real(**{"MaxKeys": 2, **options})

    monkeypatch.setattr(module._client(line.url, "us-east-1"), "list_objects_v2", paged)
    assert list(bucket.names("n/")) == [f"n/{number}" for number in range(5)]
    assert len(calls) == 3
    bucket.delete(bucket.names("n/"))
    assert list(bucket.names("")) == []


def test_a_store_that_deletes_one_by_one_only(bucket, line):
    for number in range(3):
        bucket.put(f"n/{number}", b"")
    line.faults.append(Fault("POST", status=400, code="MissingContentMD5"))
    bucket.delete(bucket.names("n/"))
    assert list(bucket.names("")) == []
    line.requests.clear()
    bucket.put("n/1", b"")
    bucket.delete(["n/1", "n/2"])
    assert not [request for request in line.requests if request.startswith("POST")]


def test_a_line_that_breaks_in_the_middle_of_a_block(depot, line):
    line.faults.append(Fault(BLOCK_PUT, times=1, upstream=300_000))
    assert write(depot) == SIZE  # it was sent again
    assert read(depot) == DATA


def test_a_server_that_goes_away_in_the_middle_and_comes_back(depot, line):
    writing = depot.begin(BLOB, SIZE, 0)
    writing.add(DATA[:BLOCK_SIZE])
    line.faults.append(Fault("", times=99, upstream=0))
    found = refused(lambda: writing.add(DATA[BLOCK_SIZE:]))
    assert (found.reason, found.field) == (Reason.UNAVAILABLE, "attachment")
    assert writing.close() == BLOCK_SIZE  # as far as anybody knows without asking
    line.faults.clear()
    assert goes_on(depot) == BLOCK_SIZE


def test_an_answer_that_is_lost_does_no_harm(depot, line):
    line.faults += [Fault("PUT", times=2, downstream=0), Fault("/whole", downstream=10)]
    assert write(depot) == SIZE
    assert read(depot) == DATA


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (500, "InternalError", Reason.UNAVAILABLE),
        (507, "XMinioStorageFull", Reason.OVERLOADED),
        (503, "SlowDown", Reason.OVERLOADED),
        (403, "AccessDenied", Reason.UNAVAILABLE),
    ],
)
def test_errors_of_the_store(depot, line, status, code, reason):
    writing = depot.begin(BLOB, SIZE, 0)
    writing.add(DATA[:BLOCK_SIZE])
    line.faults.append(Fault(BLOCK_PUT, times=3, status=status, code=code))
    with structlog.testing.capture_logs() as logged:
        assert refused(lambda: writing.add(DATA[BLOCK_SIZE:])).reason is reason
        assert refused(lambda: writing.add(b"")).reason is Reason.UNAVAILABLE  # this call is over
        assert writing.close() == BLOCK_SIZE
        line.faults.clear()
        assert goes_on(depot) == BLOCK_SIZE
    assert [(entry["event"], entry.get("reason")) for entry in logged] == [
        ("attachments_unreachable", code),
        ("attachments_back", None),
    ]


def test_one_error_is_nobodys_business(depot, line):
    line.faults += [Fault("GET", status=500, code="InternalError"), Fault(BLOCK_PUT, status=503, code="SlowDown")]
    assert write(depot) == SIZE
    assert read(depot) == DATA


def test_an_answer_that_ends_too_early_is_not_handed_out(depot, line):
    write(depot)
    line.faults.append(Fault("GET /attachments/", times=0))
    blocks = depot.read(BLOB, 0, SIZE)
    assert next(blocks).index == 0
    line.faults.append(Fault(BLOCK_PUT, downstream=700))
    assert refused(lambda: next(blocks)).reason is Reason.UNAVAILABLE
    assert read(depot) == DATA


def test_a_store_that_does_not_answer_is_not_waited_for(line, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    over = threading.Event()
    with line_to(line.url) as silent:
        silent.faults.append(Fault("", then=lambda: over.wait(LIMIT), upstream=0))
        try:
            bucket = module.Bucket(buckets.place(silent.url))
            assert refused(lambda: list(bucket.names(""))).reason is Reason.UNAVAILABLE
        finally:
            over.set()


def test_damage_in_the_store_is_noticed_before_anything_is_handed_out(depot, bucket):
    write(depot)
    [key] = [name for name in bucket.names("data/") if name.partition("/fffffe-")[1]]
    bucket.put(key, DATA[BLOCK_SIZE:-1] + bytes([DATA[-1] ^ 1]))
    blocks = depot.read(BLOB, 0, SIZE)
    assert next(blocks).data == DATA[:BLOCK_SIZE]
    with structlog.testing.capture_logs() as logged:
        found = refused(lambda: next(blocks))
    assert (found.reason, found.detail) == (Reason.UNAVAILABLE, "block 1 is damaged there")
    assert [entry["event"] for entry in logged] == ["attachment_damaged"]
    bucket.delete([key])
    assert refused(lambda: read(depot)).detail == "block 1 is damaged there"
    [tree] = [name for name in bucket.names("data/") if name.endswith("/tree")]
    bucket.delete([tree])
    assert refused(lambda: read(depot)).detail == "block 0 is damaged there"


def test_a_bucket_that_is_not_there_is_the_operators_business(line):
    place = buckets.place(line.url)
    bucket = module.Bucket(type(place)("no-such-bucket", place.prefix, place.endpoint, place.region))
    found = refused(lambda: list(bucket.names("")))
    assert (found.reason, found.next_step) == (Reason.UNAVAILABLE, "Tell the relay's operator; nothing was lost.")
    assert "no-such-bucket" not in str(found)


def test_without_keys_nothing_is_sent(line, monkeypatch, tmp_path):
    for name in buckets.KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with line_to(line.url) as other:
        bucket = module.Bucket(buckets.place(other.url))
        assert refused(lambda: bucket.put("a", b"")).reason is Reason.UNAVAILABLE
        assert other.requests == []
        (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text(
            "[default]\naws_access_key_id = made-up\naws_secret_access_key = for-tests\n"
        )
        module._client.cache_clear()
        module.Bucket(buckets.place(other.url)).put("a", b"")


def settings(place, name="relay.aa.example", **more):
    common = {"quota": 2**30, "reserve": 0, "place": "relay.sqlite3", "data": Path("data")}
    return SimpleNamespace(bucket=place, name=name, **(common | more))


def test_a_relay_starts_while_its_bucket_is_away(line, tmp_path):
    line.faults.append(Fault("", times=99, status=403, code="AccessDenied"))
    depot = open_depot(settings(buckets.place(line.url), data=tmp_path), clock=lambda: NOW)
    assert depot.folder == tmp_path
    assert refused(lambda: depot.begin(BLOB, SIZE, 0)).reason is Reason.UNAVAILABLE
    assert refused(lambda: depot.untouched(NOW)).reason is Reason.UNAVAILABLE
    line.faults.clear()
    assert goes_on(depot) == 0


def test_a_relay_does_not_start_on_the_bucket_of_another(line):
    place = buckets.place(line.url)
    open_depot(settings(place), clock=lambda: NOW)
    open_depot(settings(place), clock=lambda: NOW)  # another node of the same
    found = refused(lambda: open_depot(settings(place, "relay.bb.example"), clock=lambda: NOW))
    assert found.reason is Reason.NOT_PERMITTED
    assert "relay.aa.example" in found.detail


def test_without_the_extra_it_says_what_to_install(line, monkeypatch):
    monkeypatch.setitem(sys.modules, "infoexchange_relay.stores.bucket", None)
    found = refused(lambda: open_depot(settings(buckets.place(line.url)), clock=lambda: NOW))
    assert (found.reason, "infoexchange[relay,s3]" in found.next_step) == (Reason.UNAVAILABLE, True)


def test_nodes_that_share_a_database_and_no_bucket_are_told(tmp_path):
    more = settings(None, attachments=tmp_path / "attachments")
    with structlog.testing.capture_logs() as logged:
        open_depot(more, clock=lambda: NOW)
        more.place = "postgresql:///relay"
        open_depot(more, clock=lambda: NOW)
    assert [entry["event"] for entry in logged] == ["attachments_on_this_node_only"]
