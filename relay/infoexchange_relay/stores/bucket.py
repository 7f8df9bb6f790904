"""Bucket: the few requests that attachments need of an S3-compatible store, and what its errors mean.

Keys, secrets and certificates come from where the client library looks for them: the environment and the files that it
names. Nothing of the store's own words reaches a caller; the operator finds its error code in the log.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

import botocore.session  # type: ignore[import-untyped]  # ships no types
import structlog
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay.config import BucketPlace

# Specification constants
_BATCH = 1000  # keys that S3 lists or deletes at once, at most

# Implementation constants
_CONNECT_SECONDS = 5  # a store that takes longer is as good as away
_ANSWER_SECONDS = 15  # without a byte of the answer
_ATTEMPTS = 3  # of one request, with pauses that grow: a store that is restarted breaks one or two
_CONNECTIONS = 32  # more than there are threads that ask
# What stores say when there is no room, or when they are asked too often.
_FULL = ("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage", "SlowDown")
_FULL_STATUS = (429, 507)
_NO_KEY = ("NoSuchKey", "404")
# How older stores refuse to delete several at once, or the check sum that goes with it.
_NOT_AT_ONCE = ("MissingContentMD5", "InvalidRequest", "InvalidDigest", "NotImplemented", "MethodNotAllowed", "501")
_NOBODY_FIXES = ("NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentialsError")

_log = structlog.get_logger()


class Bucket:
    """Objects below one prefix of a bucket; their keys are given without it. Any thread may call it."""

    def __init__(self, place: BucketPlace) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            place: Which bucket, and where.

        Raises:
            UnavailableError: `UNAVAILABLE` when the client library cannot be set up: its own settings are wrong.
        """
        self._place = place
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._away = ""
        self._at_once = True
        with self._asking():
            self._client = _client(place.endpoint, place.region)

    def __str__(self) -> str:
        """Return how it is called in settings."""
        return str(self._place)

    def put(self, key: str, body: bytes | memoryview | IO[bytes]) -> None:
        """Store an object: whole and durable on return, or not at all."""
        data = bytes(body) if isinstance(body, memoryview) else body
        with self._asking():
            self._client.put_object(Bucket=self._place.bucket, Key=self._prefix + key, Body=data)

    def get(self, key: str, start: int = 0, size: int = 0) -> bytes | None:
        """Return an object, or `size` bytes of it from `start` on, fewer at its end; None where there is none."""
        span = {"Range": f"bytes={start}-{start + size - 1}"} if size else {}
        with self._asking():
            try:
                answer = self._client.get_object(Bucket=self._place.bucket, Key=self._prefix + key, **span)
            except ClientError as problem:
                if _code(problem) in (*_NO_KEY, "InvalidRange"):
                    return None
                raise
            with contextlib.closing(answer["Body"]) as body:
                data: bytes = body.read()
                return data

    def names(self, prefix: str, *, limit: int = 0) -> Iterator[str]:
        """Yield the keys that begin so, in ascending order; no more than `limit`, at most 1000, if that is given."""
        for page in self._pages(prefix, {"MaxKeys": limit} if limit else {}, once=bool(limit)):
            yield from (item["Key"].removeprefix(self._prefix) for item in page.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield what stands between the prefix and the next slash, of all keys that begin so."""
        for page in self._pages(prefix, {"Delimiter": "/"}):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"].removeprefix(self._prefix + prefix).rstrip("/")

    def _pages(self, prefix: str, options: dict[str, Any], *, once: bool = False) -> Iterator[dict[str, Any]]:
        following: dict[str, str] = {}
        while True:
            with self._asking():
                page: dict[str, Any] = self._client.list_objects_v2(
                    Bucket=self._place.bucket, Prefix=self._prefix + prefix, **options, **following
                )
            yield page
            if once or not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; whatever is not there is passed over."""
        rest = iter(keys)
        while some := list(islice(rest, _BATCH)):
            if self._at_once and len(some) > 1:
                self._delete_at_once(some)
            if not self._at_once or len(some) == 1:
                for key in some:
                    with self._asking():
                        self._client.delete_object(Bucket=self._place.bucket, Key=self._prefix + key)

    def _delete_at_once(self, keys: Iterable[str]) -> None:
        named = [{"Key": self._prefix + key} for key in keys]
        with self._asking():
            try:
                answer = self._client.delete_objects(
                    Bucket=self._place.bucket, Delete={"Objects": named, "Quiet": True}
                )
            except ClientError as problem:
                if _code(problem) not in _NOT_AT_ONCE:
                    raise
                self._at_once = False  # from now on one by one
                return
            failed = [item for item in answer.get("Errors", ()) if item.get("Code") not in _NO_KEY]
            if failed:
                raise ClientError({"Error": failed[0], "ResponseMetadata": {}}, "DeleteObjects")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Say in our words what goes wrong; tell the operator when that begins, and when it ends."""
        try:
            yield
        except (BotoCoreError, ClientError, OSError) as problem:
            raise self._failed(problem) from None
        if self._away:
            self._away = ""
            _log.info("attachments_back", address=str(self))

    def _failed(self, problem: Exception) -> ExchangeError:
        answered = isinstance(problem, ClientError)
        code = _code(problem) if answered else type(problem).__name__
        if code != self._away:
            self._away = code
            _log.warning("attachments_unreachable", address=str(self), reason=code)
        if answered and (code in _FULL or _status(problem) in _FULL_STATUS):
            detail = "the relay's store of attachments is full or busy"
            return error(Reason.OVERLOADED, field="attachment", detail=detail)
        step = "Tell the relay's operator; nothing was lost." if code in _NOBODY_FIXES else ""
        detail = "the relay's store of attachments does not answer as it should"
        return error(Reason.UNAVAILABLE, field="attachment", detail=detail, next_step=step)


@functools.cache  # it reads megabytes of descriptions
def _client(endpoint: str, region: str) -> Any:
    """Return a client, which any thread may use; it finds keys by itself."""
    settings = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_ANSWER_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # Many stores do not know the newer check sums; the signature, which all of them know, covers the bytes.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": True},
    )
    session = botocore.session.Session()
    return session.create_client("s3", endpoint_url=endpoint or None, region_name=region or None, config=settings)


def _code(problem: ClientError) -> str:
    """Return the store's word for what went wrong."""
    return str(problem.response.get("Error", {}).get("Code") or _status(problem))


def _status(problem: ClientError) -> int:
    return int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
