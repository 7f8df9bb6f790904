"""Tls: the relay's certificate and key, taken again when their files change.

Certificates are short-lived, and nobody should have to stop a relay for a new one. Connections that are there go on
under the certificate they were made with, until they are renewed by their age; new ones, to this relay and from it to
others, are made with the new one. What does not fit is one line in the log and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import structlog

from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.home import Keychain
from infoexchange.home.files import check_tls_pair
from infoexchange_relay.config import Config
from infoexchange_relay.opening import CHECK, Identity, read

# Implementation constants
_LOOK_SECONDS = 10.0  # between two looks at the files; SIGHUP makes one at once

_log = structlog.get_logger()


class Tls:
    """What this relay shows of itself on every connection.

    Attributes:
        pair: PEM private key, and PEM certificate; another object when it is another pair.
    """

    def __init__(self, config: Config, keychain: Keychain, identity: Identity) -> None:
        """Hold the pair that the files hold now.

        Args:
            config: Names the files.
            keychain: Opens the key file.
            identity: What the relay says of itself; it gets the new certificate too.

        Raises:
            ExchangeError: The key cannot be read.
        """
        self._key, self._certificate = config.tls_key, config.tls_certificate
        self._keychain = keychain
        self._identity = identity
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._told: tuple[object, ...] = ()
        self._wake = asyncio.Event()
        self.pair = keychain.read(self._key, next_step=CHECK), identity.certificate

    def shown(self) -> tuple[bytes, bytes]:
        """Return the pair that is in force now."""
        return self.pair

    def look_now(self) -> None:
        """Look at the files at once."""
        self._wake.set()

    async def run(self, current: Callable[[], Directory], renewed: Callable[[Directory], Awaitable[None]]) -> None:
        """Look at the files again and again; `renewed` is called after each change."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if await asyncio.to_thread(self._look, current()):
                    await renewed(current())
                    _log.info("certificate_renewed", address=str(self._certificate))
            except ExchangeError as problem:
                self._refused(problem)
            except Exception as bug:  # noqa: BLE001  the relay goes on with the pair it has; the text may hold bytes
                _log.error("certificate_not_looked_at", reason=type(bug).__name__)

    def _refused(self, problem: ExchangeError) -> None:
        """Say once why a pair is not taken; of two files one is put there first, and a directory may come later."""
        told = self._marks(), problem.reason
        if told != self._told:
            _log.error("certificate_refused", reason=problem.reason.word, address=str(self._certificate))
        self._told = told

    def _look(self, directory: Directory) -> bool:
        """Take the pair in the files if it is another one, or raise; in a thread."""
        marks = self._marks()
        if marks == self._seen:
            return False
        pair = self._keychain.read(self._key, next_step=CHECK), read(self._certificate)
        changed = pair != self.pair
        if changed:
            ders = certificates.from_pem(pair[1]) or [b""]
            check_tls_pair(ders[0], pair[0], self._key)
            replace(self._identity, certificate=pair[1]).check(directory)
            self._identity.certificate = pair[1]
            self.pair = pair
        self._seen = marks
        return changed

    def _marks(self) -> tuple[tuple[int, ...], ...]:
        return _mark(self._key), _mark(self._certificate)


def _mark(file: Path) -> tuple[int, ...]:
    """Return what changes when a file is written again; nothing for a file that is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
