"""Session: from an agency's folder to a mailbox that works, in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import to_pem
from infoexchange.directory import Directory
from infoexchange.errors import Reason, UnavailableError, UntrustedError, error
from infoexchange.keys import Identity
from infoexchange.listing import Role
from infoexchange.mailbox import Mailbox
from infoexchange.ports import Spool
from infoexchange.retention import Archive
from infoexchange.transport.channel import open_channel, utc_now
from infoexchange.transport.remote import RemoteRelay
from infoexchange.transport.witness import RemoteWitness

# Implementation constants
TIMEOUT = timedelta(seconds=30)  # an answer later than this comes from a relay that needs attention


class Tls(Protocol):
    """Certificate, key and the CAs of the relay's nation, as PEM."""

    @property
    def chain(self) -> bytes:
        """The agency's TLS certificate."""

    @property
    def key(self) -> bytes:
        """Its private key."""

    @property
    def roots(self) -> bytes:
        """Certificates of the TLS CAs of the relay's nation."""


class Premises(Protocol):
    """What an agency keeps: `infoexchange.home.Home`, or an embedder's own place for the same things."""

    @property
    def name(self) -> str:
        """The agency's name."""

    @property
    def identity(self) -> Identity:
        """Its private half."""

    @property
    def bundles(self) -> Sequence[KeyBundle]:
        """Its own bundles, newest first."""

    @property
    def directory(self) -> Directory:
        """Who is who."""

    @property
    def tls(self) -> Tls:
        """What the connection needs."""

    def in_use(self) -> AbstractContextManager[None]:
        """Keep other programs from sending and receiving with the same outbox and inbox."""

    def spool(self) -> AbstractContextManager[Spool]:
        """Open the outbox and inbox."""

    def archive(self) -> AbstractContextManager[Archive]:
        """Open the archive of what was received."""

    def save_directory(self, directory: Directory) -> None:
        """Keep a newer directory."""

    def save_fork(self, raw: bytes) -> None:
        """Keep a directory version of a second history, as evidence."""

    def rotate(self, *, now: datetime) -> bool:
        """Issue the bundle of a new epoch when it is time."""


def published(home: Premises, *, timeout: timedelta = TIMEOUT) -> Sequence[KeyBundle]:
    """Return the agency's own bundles as its relay has them; nothing is changed.

    Raises:
        UnavailableError: The relay cannot be reached.
    """
    relay = home.directory.relay_of(home.directory.party(home.name, at=utc_now()))
    tls = home.tls
    channel = open_channel(relay.address, name=relay.name, roots=tls.roots, certificate=tls.chain, key=tls.key)
    with contextlib.closing(channel):
        return RemoteRelay(channel, timeout=timeout, address=relay.address).bundles([home.name])


@contextlib.contextmanager
def reach(home: Premises, *, timeout: timedelta = TIMEOUT) -> Iterator[RemoteRelay]:
    """Give the agency's own relay itself, under whatever directory is held, even one whose time is over.

    Raises:
        UntrustedError: `UNKNOWN_PARTY` or `BAD_CERTIFICATE`.
    """
    relay = home.directory.relay_of(home.directory.party(home.name, at=utc_now()))
    tls = home.tls
    channel = open_channel(relay.address, name=relay.name, roots=tls.roots, certificate=tls.chain, key=tls.key)
    with contextlib.closing(channel):
        yield RemoteRelay(channel, timeout=timeout, address=relay.address)


@contextlib.contextmanager
def visit(home: Premises, relay: str, *, timeout: timedelta = TIMEOUT) -> Iterator[RemoteRelay]:
    """Give any relay of the directory, for what every party may read there: its log.

    Raises:
        UntrustedError: `UNKNOWN_PARTY` when the directory has no such relay, `BAD_CERTIFICATE`.
    """
    with visit_both(home, relay, timeout=timeout) as (remote, _):
        yield remote


@contextlib.contextmanager
def visit_both(
    home: Premises, relay: str, *, timeout: timedelta = TIMEOUT
) -> Iterator[tuple[RemoteRelay, RemoteWitness]]:
    """Give any relay of the directory together with its witness; raises as `visit`."""
    party = home.directory.party(relay, at=utc_now())
    if party.role is not Role.RELAY:
        raise error(Reason.UNKNOWN_PARTY, field="relay", detail=f"{relay} is an agency")
    roots = b"".join(map(to_pem, home.directory.nation(party.nation).tls_cas))
    channel = open_channel(party.address, name=relay, roots=roots, certificate=home.tls.chain, key=home.tls.key)
    with contextlib.closing(channel):
        remote = RemoteRelay(channel, timeout=timeout, address=party.address)
        yield remote, RemoteWitness(channel, timeout=timeout, address=party.address)


@contextlib.contextmanager
def connect(home: Premises, *, timeout: timedelta = TIMEOUT) -> Iterator[Mailbox]:
    """Give a mailbox, connected to the agency's own relay, with keys published and the newest directory.

    Relay address, name and CAs come from the directory: there is nothing to configure.

    Args:
        home: The agency's folder.
        timeout: How long one call may take.

    Raises:
        UnavailableError: The relay cannot be reached, or another program uses the folder; nothing was changed.
        UntrustedError: `DIRECTORY_EXPIRED`, `DIRECTORY_ROLLBACK`, `LOG_FORK`, `UNKNOWN_PARTY` or `BAD_CERTIFICATE`.
    """
    with reach(home, timeout=timeout) as remote, home.in_use(), home.spool() as spool, home.archive() as archive:
        # The directory first: after a long absence nothing else can be judged, not even the own keys.
        follow(home, remote)
        home.rotate(now=utc_now())
        mailbox = Mailbox(home.identity, home.bundles, home.directory, remote, spool, clock=utc_now)
        mailbox.keep_in(archive)
        mailbox.refresh()
        yield mailbox
        with contextlib.suppress(UnavailableError):  # what is not said now is kept, and said at the next connection
            mailbox.flush()


def follow(home: Premises, remote: RemoteRelay) -> None:
    """Take every newer directory version, one after the other; what shows a second history is kept as evidence.

    The relay's copy of the version held here is asked for as well: it must be the same.

    Raises:
        UntrustedError: `BAD_SIGNATURE`, `DIRECTORY_ROLLBACK` or `LOG_FORK`.
        UnavailableError: The relay cannot be reached.
    """
    directory = home.directory
    for raw in remote.directories(directory.version - 1):
        try:
            directory = directory.succeed(raw)
        except UntrustedError as problem:
            if problem.reason is Reason.LOG_FORK:
                home.save_fork(raw)
            raise
    if directory is not home.directory:
        home.save_directory(directory)
