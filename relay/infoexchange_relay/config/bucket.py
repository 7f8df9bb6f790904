"""Bucket: where attachments lie that are not kept on a disk of the relay's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SCHEME = "s3://"
# Names of buckets as S3 wants them, and prefixes of letters that no store and no shell reads otherwise.
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,8})")
_REGION = re.compile(r"[A-Za-z0-9-]{0,64}")


@dataclass(frozen=True)
class BucketPlace:
    """A place in an S3-compatible store.

    Attributes:
        bucket: Name of the bucket.
        prefix: What every key begins with, without a slash at either end; may be empty.
        endpoint: URL of the store; empty for Amazon's.
        region: Region that requests are signed for; empty for what the client library finds.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @classmethod
    def parse(cls, address: str, endpoint: str = "", region: str = "") -> BucketPlace:
        """Return the place of an address such as `s3://bucket/prefix`, or raise `ValueError` that says why not."""
        found = _ADDRESS.fullmatch(address)
        if not found:
            raise ValueError(f"{address!r} is not an address such as {_SCHEME}attachments/relay-th")
        return cls(found[1], found[2].strip("/"), endpoint, region)

    def __str__(self) -> str:
        """Return the address, as in the settings."""
        return _SCHEME + "/".join(part for part in (self.bucket, self.prefix) if part)


@dataclass(frozen=True)
class BucketAddress:
    """`s3://bucket/prefix`, or empty."""

    range: str = "`s3://bucket/prefix`, or empty"

    def read(self, value: object, folder: Path) -> str:
        """Return the address."""
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text; put it in quotes")
        if value:
            BucketPlace.parse(value)
        return value


@dataclass(frozen=True)
class Region:
    """The name of a region, or empty."""

    range: str = "letters, digits and hyphens, or empty"

    def read(self, value: object, folder: Path) -> str:
        """Return the name."""
        if not isinstance(value, str) or not _REGION.fullmatch(value):
            raise ValueError(f"{value!r} is no name of a region, such as eu-central-1")
        return value
