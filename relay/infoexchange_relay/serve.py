"""Serve: builds a relay from its configuration, runs it, and stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
import structlog

from infoexchange import certificates, suites, wire
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.home.files import read_key
from infoexchange.ledger import Ledger
from infoexchange.listing import Party, Roots
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.transport import RemoteRelay, open_channel, utc_now
from infoexchange.transport.witness import RemoteWitness
from infoexchange.witness import WitnessKeys
from infoexchange_relay import logs
from infoexchange_relay.batching import Batching
from infoexchange_relay.config import Config, parse_address
from infoexchange_relay.forward import Peer, Peers
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.recalls import Orders
from infoexchange_relay.server import Office, Server, server_credentials
from infoexchange_relay.stores import FileLatch, open_store
from infoexchange_relay.witnessing import CosigningDesk, Witnessing

# Exit codes, beside those of every command (0 to 3)
STOPPED = 0  # it was told to
LOG_STOPPED = 4  # the log took nothing more; what was acknowledged is safe, and a new start checks the data

# Implementation constants
_CARRY_TIMEOUT = timedelta(seconds=60)  # a full batch on a slow line
_ASK_TIMEOUT = timedelta(seconds=5)  # an agency waits for the answer

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
        with _signals(told):
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
    """

    def __init__(self, node: Node, address: str, stopped: asyncio.Event) -> None:
        """Hold what others ask for."""
        self.node = node
        self.address = address
        self.stopped = stopped


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Relay]:
    """Run a relay for as long as the block lasts: everything is started in order, and ended in the reverse order.

    Raises:
        ExchangeError: When it cannot start.
    """
    wire.require_upb()
    suites.probe(())
    key, certificate = _read_key(config.tls_key), _read(config.tls_certificate)
    directory = Directory.parse(_read(config.directory), roots=Roots.parse(_read(config.roots)))
    keys = LogKeys.parse(_read_key(config.log_keys))
    witness_keys = WitnessKeys.parse(_read_key(config.witness_keys))
    _check_identity(config, keys, directory, certificate)
    # What this machine cannot verify must not be found out with the first envelope.
    suites.probe(number for number in directory.listing.suites if suites.knows(number))
    async with contextlib.AsyncExitStack() as stack:
        # (1) the data, checked against the latch before anything is signed
        stack.enter_context(_locked(config))
        store = open_store(config.store)
        stack.callback(store.close)
        node = Node(Ledger(keys, store, FileLatch(config.latch), clock=utc_now), directory, clock=utc_now)
        await asyncio.to_thread(node.start)
        # (2) the writer
        metrics = Metrics(party.name for party in directory.relays())
        batching = Batching(node, metrics=metrics)
        batching.start()
        stack.push_async_callback(batching.close)
        # (3) the peers
        others = [party for party in directory.relays() if party.name != config.name and party.address]
        channels = {party.name: _channel(party, directory, key, certificate) for party in others}
        peers = Peers([_peer(party, channels[party.name]) for party in others], batching)
        peers.start()
        stack.push_async_callback(peers.close)
        orders = Orders(peers.all, batching)
        orders.start()
        stack.push_async_callback(orders.close)
        # (4) the port, when all behind it works
        if config.metrics_listen:
            _export(metrics, config.metrics_listen)
        credentials = server_credentials(directory, key, certificate)
        cosigning = CosigningDesk(witness_keys, node, config.witnessed)
        server = Server(Office(batching, peers, cosigning), credentials, reflect=config.reflection)
        port = await server.start(config.listen)
        stack.push_async_callback(server.stop)
        # (5) the other nations' witnesses
        witnessing = Witnessing(node, _witnesses(others, channels, node), seconds=config.witness_seconds)
        witnessing.start()
        stack.push_async_callback(witnessing.close)
        stack.callback(batching.end_bells)
        stack.push_async_callback(server.refuse)
        host, _ = parse_address(config.listen)
        yield Relay(node, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", batching.stopped)


@contextlib.contextmanager
def _locked(config: Config) -> Iterator[None]:
    """Keep a second relay process from the same data: two writers would each sign what the other wrote."""
    with (config.data / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            next_step = "Stop the other process first; `infoexchange-relay check` may run beside it."
            detail = "another process serves this data"
            raise error(Reason.UNAVAILABLE, field=str(config.data), detail=detail, next_step=next_step) from None
        yield


def _read_key(path: Path) -> bytes:
    return read_key(path, next_step="Run `infoexchange-relay check`, which names everything that is missing.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error(
            Reason.UNAVAILABLE,
            field=str(path),
            detail=problem.strerror or "unreadable",
            next_step="Run `infoexchange-relay check`, which names everything that is missing.",
        ) from None


def _check_identity(config: Config, keys: LogKeys, directory: Directory, certificate: bytes) -> None:
    """Raise unless name, log keys and certificate are those of one relay of the directory."""
    now = utc_now()
    party = directory.party(config.name, at=now)
    if keys.relay != config.name:
        raise error(Reason.BAD_FIELD, field=str(config.log_keys), detail=f"they are the log keys of {keys.relay}")
    for leaf in certificates.from_pem(certificate)[:1]:
        name = certificates.verify_leaf(leaf, directory.nation(party.nation).tls_cas, now).name
        if name != config.name:
            raise error(Reason.BAD_CERTIFICATE, field=str(config.tls_certificate), detail=f"it is {name}'s")


def _export(metrics: Metrics, listen: str) -> None:
    """Answer Prometheus until the process ends."""
    try:
        metrics.export(listen)
    except OSError as problem:
        detail = problem.strerror or "cannot listen there"
        next_step = "Stop the program that listens there, or set another `metrics_listen`."
        raise error(Reason.UNAVAILABLE, field=listen, detail=detail, next_step=next_step) from None


def _channel(party: Party, directory: Directory, key: bytes, certificate: bytes) -> grpc.Channel:
    """Return the connection to another relay; nothing is connected yet."""
    roots = b"".join(certificates.to_pem(ca) for ca in directory.nation(party.nation).tls_cas)
    return open_channel(party.address, name=party.name, roots=roots, certificate=certificate, key=key)


def _witnesses(others: Sequence[Party], channels: Mapping[str, grpc.Channel], node: Node) -> dict[str, RemoteWitness]:
    """Return the witnesses of other nations: one of the own nation never counts."""
    own = node.directory.party(node.name, at=node.clock()).nation
    return {
        party.name: RemoteWitness(channels[party.name], timeout=_ASK_TIMEOUT, address=party.address)
        for party in others
        if party.nation != own and party.witness_keys
    }


def _peer(party: Party, channel: grpc.Channel) -> Peer:
    """Return the way to another relay."""
    return Peer(
        party,
        RemoteRelay(channel, timeout=_CARRY_TIMEOUT, address=party.address),
        RemoteRelay(channel, timeout=_ASK_TIMEOUT, address=party.address, wait_for_ready=True),
        channel.close,
    )


@contextlib.contextmanager
def _signals(told: asyncio.Event) -> Iterator[None]:
    """Set `told` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    both = (signal.SIGTERM, signal.SIGINT)
    for number in both:
        loop.add_signal_handler(number, told.set)
    try:
        yield
    finally:
        for number in both:
            loop.remove_signal_handler(number)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
