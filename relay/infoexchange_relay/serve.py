"""Serve: builds a relay from its configuration, runs it, and stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import structlog

from infoexchange import certificates, suites, wire
from infoexchange.directory import Directory
from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.home.files import in_file
from infoexchange.home.held import put_fork
from infoexchange.ledger import Ledger
from infoexchange.listing import Roots
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.states import Event
from infoexchange.transport import utc_now
from infoexchange.witness import WitnessKeys
from infoexchange_relay import expiry, logs, recovery
from infoexchange_relay.batching import Batching
from infoexchange_relay.config import Config, parse_address
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.lock import locked
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.neighbours import Neighbours
from infoexchange_relay.renewal import Renewal
from infoexchange_relay.server import Office, Server, server_credentials
from infoexchange_relay.stores import FileDepot, FileLatch, open_store
from infoexchange_relay.transfers import Transfers
from infoexchange_relay.witnessing import CosigningDesk

# Exit codes, beside those of every command (0 to 3)
STOPPED = 0  # it was told to
LOG_STOPPED = 4  # the log took nothing more; what was acknowledged is safe, and a new start checks the data

# Implementation constants
_CHECK = "Run `infoexchange-relay check`, which names everything that is missing."

_log = structlog.get_logger()


async def serve(config: Config) -> int:
    """Run a relay until SIGTERM, SIGINT or the end of its log, and return the exit code: 0, or 4 when the log stopped.

    When it listens it logs `relay_ready` with its address.

    Raises:
        ExchangeError: When it cannot start: a file, the data, the directory or the port cannot be used.
    """
    logs.configure(config.log_level)
    told = asyncio.Event()
    async with running(config) as relay:
        with _signals(told, relay.look_now):
            _log.info("relay_ready", address=relay.address, party=config.name, size=relay.node.ledger.size)
            await _first(told, relay.stopped)
            failed = relay.stopped.is_set()
            _log.info("relay_stopping", party=config.name)
    _log.info("relay_stopped", party=config.name, size=relay.node.ledger.size)
    return LOG_STOPPED if failed else STOPPED


class Relay:
    """A relay that runs.

    Attributes:
        node: Its rules.
        address: Where it listens.
        stopped: Set when its log takes nothing more.
        look_now: Looks for a newer directory in its file.
    """

    def __init__(self, node: Node, address: str, stopped: asyncio.Event, look_now: Callable[[], None]) -> None:
        """Hold what others ask for."""
        self.node = node
        self.address = address
        self.stopped = stopped
        self.look_now = look_now


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Relay]:
    """Run a relay for as long as the block lasts: everything is started in order, and ended in the reverse order.

    Raises:
        ExchangeError: When it cannot start.
    """
    wire.require_upb()
    suites.probe(())
    keychain = config.keychain()
    key, certificate = keychain.read(config.tls_key, next_step=_CHECK), _read(config.tls_certificate)
    keys = LogKeys.parse(keychain.read(config.log_keys, next_step=_CHECK))
    witness_keys = WitnessKeys.parse(keychain.read(config.witness_keys, next_step=_CHECK))
    check = partial(_check_identity, config, keys, certificate)
    if not config.store.exists():
        check(_directory(config, []))  # what cannot start leaves nothing behind
    async with contextlib.AsyncExitStack() as stack:
        # (1) the data, checked against the latch before anything is signed, and the directory that follows its own log
        stack.enter_context(locked(config))
        store = open_store(config.store)
        stack.callback(store.close)
        directory = _directory(config, store.exhibits(Event.DIRECTORY_VERSION))
        check(directory)
        depot = FileDepot(config.attachments, quota=config.quota, reserve=config.reserve, clock=utc_now)
        ledger = Ledger(keys, store, FileLatch(config.latch), clock=utc_now)
        node = Node(ledger, directory, depot, clock=utc_now, max_uncosigned=config.max_uncosigned)
        metrics = Metrics(party.name for party in directory.relays())
        cosigned = Cosigned(node, config.cosigned, metrics)
        await asyncio.to_thread(node.start, recovery.predecessor(config))
        await asyncio.to_thread(recovery.salvage, config, node)
        await asyncio.to_thread(cosigned.resume)
        # (2) the writer
        batching = Batching(node, metrics=metrics)
        batching.start()
        stack.push_async_callback(batching.close)
        transfers = Transfers(node)
        transfers.start()
        stack.push_async_callback(transfers.close)
        # (3) the peers, and newer versions of the directory
        neighbours = Neighbours(batching, key, certificate, cosigned, witness_seconds=config.witness_seconds)
        neighbours.peers.start()
        stack.push_async_callback(neighbours.peers.close)
        renewal = Renewal(batching, neighbours, config.directory, config.data)
        renewal.check = check
        # (4) the port, when all behind it works
        if config.metrics_listen:
            _export(batching.metrics, config.metrics_listen)
        credentials = server_credentials(lambda: node.directory, key, certificate)
        cosigning = CosigningDesk(witness_keys, node, config.witnessed)
        office = Office(batching, neighbours.peers, renewal, transfers, cosigning)
        server = Server(office, credentials, reflect=config.reflection)
        port = await server.start(config.listen)
        stack.push_async_callback(server.stop)
        # (5) what changes or ends while it runs, and the other nations' witnesses
        renewal.start()
        stack.push_async_callback(renewal.close)
        stack.push_async_callback(_ended, asyncio.create_task(expiry.watch(config, node)))
        neighbours.witnessing.start()
        stack.push_async_callback(neighbours.witnessing.close)
        stack.callback(batching.end_bells)
        stack.push_async_callback(server.refuse)
        host, _ = parse_address(config.listen)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        yield Relay(node, address, batching.stopped, renewal.look_now)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error(
            Reason.UNAVAILABLE,
            field=str(path),
            detail=problem.strerror or "unreadable",
            next_step=_CHECK,
        ) from None


def _directory(config: Config, logged: Sequence[bytes]) -> Directory:
    """Return the version to start with: what the log holds weighs more than what lies beside it."""
    raw = _read(config.directory)
    try:
        with in_file(config.directory):
            return Directory.resume(logged, raw, roots=Roots.parse(_read(config.roots)))
    except UntrustedError as problem:
        if problem.reason is Reason.LOG_FORK:
            put_fork(config.data, raw)  # the proof must outlast the next file that is put there
        raise


def _check_identity(config: Config, keys: LogKeys, certificate: bytes, directory: Directory) -> None:
    """Raise unless name, log keys and certificate are those of one relay of the directory, whose suites work here."""
    now = utc_now()
    party = directory.party(config.name, at=now)
    if keys.relay != config.name:
        raise error(Reason.BAD_FIELD, field=str(config.log_keys), detail=f"they are the log keys of {keys.relay}")
    if set(party.log_keys) != {str(key) for key in keys.verifier_keys}:  # nobody could verify its receipts
        detail = f"the directory lists other log keys for {config.name}"
        next_step = "Have registration.json put into the next version of the directory, and that into its place."
        raise error(Reason.BAD_FIELD, field=str(config.log_keys), detail=detail, next_step=next_step)
    for leaf in certificates.from_pem(certificate)[:1]:
        name = certificates.verify_leaf(leaf, directory.nation(party.nation).tls_cas, now).name
        if name != config.name:
            raise error(Reason.BAD_CERTIFICATE, field=str(config.tls_certificate), detail=f"it is {name}'s")
    # What this machine cannot verify must not be found out with the first envelope.
    suites.probe(number for number in directory.listing.suites if suites.knows(number))


def _export(metrics: Metrics, listen: str) -> None:
    """Answer Prometheus until the process ends."""
    try:
        metrics.export(listen)
    except OSError as problem:
        detail = problem.strerror or "cannot listen there"
        next_step = "Stop the program that listens there, or set another `metrics_listen`."
        raise error(Reason.UNAVAILABLE, field=listen, detail=detail, next_step=next_step) from None


@contextlib.contextmanager
def _signals(told: asyncio.Event, look_now: Callable[[], None]) -> Iterator[None]:
    """Set `told` at SIGTERM and SIGINT, and look for a newer directory at SIGHUP."""
    loop = asyncio.get_running_loop()
    actions = {signal.SIGTERM: told.set, signal.SIGINT: told.set, signal.SIGHUP: look_now}
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)


async def _ended(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
