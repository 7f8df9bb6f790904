"""Buckets of the tests' own: an S3 server on loopback that is not ours, and a line to it that breaks as told."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import pytest

from infoexchange_relay.config import BucketPlace

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "made-up-for-tests", "AWS_EC2_METADATA_DISABLED": "true"}
_BUCKET = "attachments"
_prefixes = itertools.count()


@contextlib.contextmanager
def credentials() -> Iterator[None]:
    """Let the client library find keys, and no others that this machine may have."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run a server until the block ends, and give its URL; skip where it is not installed."""
    server = pytest.importorskip(
        "moto.server", reason="moto is not installed (pip install 'moto[s3]' flask flask-cors)"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with credentials():
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        try:
            host, port = running.get_host_and_port()
            url = f"http://{host}:{port}"
            make_bucket(url)
            yield url
        finally:
            running.stop()


def make_bucket(url: str) -> None:
    """Make the bucket that all tests use."""
    import botocore.session

    client = botocore.session.Session().create_client("s3", endpoint_url=url, region_name="us-east-1")
    client.create_bucket(Bucket=_BUCKET)


def place(url: str) -> BucketPlace:
    """Return a place in which nothing is yet."""
    return BucketPlace(_BUCKET, f"relay-{next(_prefixes)}", url, "us-east-1")


class MemoryBucket:
    """What a `Bucket` does, in memory, for all the orders in which the steps of several nodes can come.

    Attributes:
        objects: What is stored.
        step: Is called before and after each change, and before each list.
    """

    def __init__(self, objects: dict[str, bytes] | None = None, step: Callable[[], None] = lambda: None) -> None:
        self.objects = {} if objects is None else objects
        self.step = step

    def put(self, key: str, body: bytes | memoryview | IO[bytes]) -> None:
        self.step()
        self.objects[key] = bytes(body) if isinstance(body, bytes | memoryview) else body.read()
        self.step()

    def get(self, key: str, start: int = 0, size: int = 0) -> bytes | None:
        data = self.objects.get(key)
        return data[start : start + size if size else None] if data is not None else None

    def names(self, prefix: str, *, limit: int = 0) -> Iterator[str]:
        self.step()
        found = sorted(key for key in self.objects if key.startswith(prefix))
        return iter(found[: limit or None])

    def folders(self, prefix: str) -> Iterator[str]:
        self.step()
        return iter(sorted({key.removeprefix(prefix).partition("/")[0] for key in self.objects if prefix in key}))

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self.step()
            self.objects.pop(key, None)
            self.step()
