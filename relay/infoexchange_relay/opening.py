"""Opening: the data of a relay with its rules, for whoever works on it alone, and checked before anything is signed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infoexchange import certificates, suites, wire
from infoexchange.directory import Directory
from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.home.files import in_file
from infoexchange.home.held import put_fork
from infoexchange.ledger import Ledger
from infoexchange.listing import Roots
from infoexchange.log import LogKeys, log_keys
from infoexchange.node import Node
from infoexchange.states import Event
from infoexchange.transport import utc_now
from infoexchange_relay import recovery
from infoexchange_relay.config import Config
from infoexchange_relay.lock import locked
from infoexchange_relay.stores import RowStore, is_there, latch_of, open_depot, open_store
from infoexchange_relay.turning import turn

# Implementation constants
CHECK = "Run `infoexchange-relay check`, which names everything that is missing."


@dataclass
class Identity:
    """Who a relay says it is; the keys change when its log does."""

    name: str
    keys: LogKeys
    keys_file: Path
    certificate: bytes
    certificate_file: Path

    @classmethod
    def load(cls, config: Config) -> Identity:
        """Return the identity that the configuration names; raises where a file is missing or is none."""
        keys = LogKeys.parse(config.keychain().read(config.log_keys, next_step=CHECK))
        certificate = read(config.tls_certificate)
        return cls(config.name, keys, config.log_keys, certificate, config.tls_certificate)

    def check(self, directory: Directory) -> None:
        """Raise unless name, keys and certificate are those of one relay of the directory, whose suites work here."""
        now = utc_now()
        party = directory.party(self.name, at=now)
        if self.keys.relay != self.name:
            detail = f"they are the log keys of {self.keys.relay}"
            raise error(Reason.BAD_FIELD, field=str(self.keys_file), detail=detail)
        listed = log_keys(directory, self.name, self.keys.origin) if party.log_keys else ()
        if tuple(listed) != self.keys.verifier_keys:  # nobody could verify its receipts
            detail = f"the directory lists other log keys for {self.name}"
            next_step = "Have registration.json put into the next version of the directory, and that into its place."
            raise error(Reason.BAD_FIELD, field=str(self.keys_file), detail=detail, next_step=next_step)
        for leaf in certificates.from_pem(self.certificate)[:1]:
            name = certificates.verify_leaf(leaf, directory.nation(party.nation).tls_cas, now).name
            if name != self.name:
                raise error(Reason.BAD_CERTIFICATE, field=str(self.certificate_file), detail=f"it is {name}'s")
        # What this machine cannot verify must not be found out with the first envelope.
        suites.probe(number for number in directory.listing.suites if suites.knows(number))


@dataclass(frozen=True)
class Opened:
    """A relay's rules, started, and the store they work with."""

    node: Node
    store: RowStore


@contextlib.contextmanager
def opened(config: Config, identity: Identity) -> Iterator[Opened]:
    """Lend a relay's started node and its store, which nobody else has meanwhile but other nodes of the same relay.

    It blocks while it reads.

    Raises:
        ExchangeError: When keys, certificate, directory or data cannot be used, or another process has them.
    """
    wire.require_upb()
    suites.probe(())
    if not is_there(config.place):
        identity.check(_directory(config, []))  # what cannot start leaves nothing behind
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(config))
        store = open_store(config.place)
        stack.callback(store.close)
        directory = _directory(config, store.exhibits(Event.DIRECTORY_VERSION))
        identity.keys = turn(config, identity.keys, store, directory)
        identity.check(directory)
        depot = open_depot(config, clock=utc_now)
        recovery.check_kept(config, identity.keys, store)
        ledger = Ledger(identity.keys, store, latch_of(store, config.latch), clock=utc_now)
        node = Node(ledger, directory, depot, clock=utc_now, max_uncosigned=config.max_uncosigned)
        node.start(recovery.predecessor(config))
        yield Opened(node, store)


def read(path: Path) -> bytes:
    """Return the bytes of a file that a relay needs, or raise `UNAVAILABLE`."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error(
            Reason.UNAVAILABLE,
            field=str(path),
            detail=problem.strerror or "unreadable",
            next_step=CHECK,
        ) from None


def _directory(config: Config, logged: Sequence[bytes]) -> Directory:
    """Return the version to start with: what the log holds weighs more than what lies beside it."""
    raw = read(config.directory)
    try:
        with in_file(config.directory):
            return Directory.resume(logged, raw, roots=Roots.parse(read(config.roots)))
    except UntrustedError as problem:
        if problem.reason is Reason.LOG_FORK:
            put_fork(config.data, raw)  # the proof must outlast the next file that is put there
        raise
