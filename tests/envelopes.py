"""Signed manifests over parts that a test has changed."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from infoexchange import suites
from infoexchange.header import Header
from infoexchange.keys import EpochKeys
from infoexchange.manifest import Manifest


def signed_manifest(
    header_raw: bytes, wraps: Sequence[bytes], body: bytes, keys: EpochKeys, epoch_wraps: Sequence[bytes] = ()
) -> Manifest:
    payload = Manifest.draw_up(header_raw, [sha256(wrap).digest() for wrap in wraps], epoch_wraps, body)
    [manifest] = Manifest.sign([payload], suites.suite_of(Header.parse(header_raw).suite), keys)
    return manifest
