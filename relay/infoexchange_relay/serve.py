"""Serve: builds a relay from its configuration, runs it, and stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.ports import Latch
from infoexchange.transport.http_witness import HttpEndpoint
from infoexchange.tsa import Authorities
from infoexchange.witness import WitnessKeys
from infoexchange_relay import __version__, disclosures, errands, expiry, learning, logs, notify, recovery, sightings
from infoexchange_relay.batching import Batching
from infoexchange_relay.config import Config, parse_address
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.courier import Courier
from infoexchange_relay.following import Following
from infoexchange_relay.foreign import Foreign
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.neighbours import Neighbours
from infoexchange_relay.nodes import nodes_of
from infoexchange_relay.opening import CHECK, Identity, opened
from infoexchange_relay.peers import Peers
from infoexchange_relay.probes import Probes
from infoexchange_relay.quarantine import Quarantine
from infoexchange_relay.quotas import Quotas, Share
from infoexchange_relay.readiness import Readiness, measure
from infoexchange_relay.readings import Readings
from infoexchange_relay.renewal import Renewal
from infoexchange_relay.server import Office, Server, server_credentials
from infoexchange_relay.stores import LOG_LATCH, FileLatch, RowStore, SharedLatch, latch_of, notes_of
from infoexchange_relay.timestamps import Timestamps, authorities
from infoexchange_relay.tls import Tls
from infoexchange_relay.traces import Traces
from infoexchange_relay.transfers import Transfers
from infoexchange_relay.witnessing import CosigningDesk

# Exit codes, beside those of every command (0 to 3)
STOPPED = 0  # it was told to
LOG_STOPPED = 4  # the log took nothing more; what was acknowledged is safe, and a new start checks the data

_log = structlog.get_logger()


async def serve(config: Config) -> int:
    """Run a relay until SIGTERM, SIGINT or the end of its log, and return the exit code: 0, or 4 when the log stopped.

    When it listens it logs `relay_ready` with its address.

    Raises:
        ExchangeError: When it cannot start: a file, the data, the directory or the port cannot be used.
    """
    logs.configure(config.log_level)
    told = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        # Left last, so that whoever asks twice does not cut off what is being finished.
        signals = stack.enter_context(contextlib.ExitStack())
        relay = await stack.enter_async_context(running(config))
        signals.enter_context(_signals(told, relay.look_now))
        _log.info("relay_ready", address=relay.address, party=config.name, size=relay.node.ledger.size)
        notify.tell(notify.READY)
        await _first(told, relay.stopped)
        notify.tell(notify.STOPPING)
        failed = relay.stopped.is_set()
        if failed and relay.refusal:
            what = f"{relay.refusal.detail}. {relay.refusal.next_step}"
            _log.error("log_stopped", reason=relay.refusal.reason.word, what=what)
        _log.info("relay_stopping", party=config.name)
    _log.info("relay_stopped", party=config.name, size=relay.node.ledger.size)
    return LOG_STOPPED if failed else STOPPED


class Relay:
    """A relay that runs.

    Attributes:
        node: Its rules.
        address: Where it listens.
        stopped: Set when its log takes nothing more.
        look_now: Looks for a newer directory and certificate in their files.
        witness_address: Where its witness answers over HTTP; empty for nowhere.
    """

    def __init__(self, batching: Batching, address: str, look_now: Callable[[], None], witness_address: str) -> None:
        """Hold what others ask for."""
        self._batching = batching
        self.node = batching.node
        self.address = address
        self.stopped = batching.stopped
        self.look_now = look_now
        self.witness_address = witness_address

    @property
    def refusal(self) -> ExchangeError | None:
        """Why nothing is taken any more."""
        return self._batching.refusal


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Relay]:
    """Run a relay for as long as the block lasts: everything is started in order, and ended in the reverse order.

    Raises:
        ExchangeError: When it cannot start.
    """
    keychain = config.keychain()
    identity = Identity.load(config)
    tls = Tls(config, keychain, identity)
    witness_keys = WitnessKeys.parse(keychain.read(config.witness_keys, next_step=CHECK))
    believed = authorities(config) if config.tsa_url else None
    async with contextlib.AsyncExitStack() as stack:
        # (1) the data, checked against the latch before anything is signed, and the directory that follows its own log
        data = await asyncio.to_thread(stack.enter_context, opened(config, identity))
        node, notes, nodes = data.node, notes_of(data.store), nodes_of(data.store)
        metrics = Metrics(party.name for party in node.directory.relays())
        cosigned = Cosigned(node, config.cosigned, metrics, notes)
        await asyncio.to_thread(recovery.salvage, config, node)
        await asyncio.to_thread(cosigned.resume)
        # (2) the writer
        batching = Batching(node, metrics=metrics, nodes=nodes)
        batching.traces = await stack.enter_async_context(_traced(config, metrics))
        await stack.enter_async_context(_writing(batching))
        transfers = await stack.enter_async_context(_transfers(node))
        # (3) the peers, and newer versions of the directory
        neighbours = _neighbours(config, batching, tls, cosigned)
        stack.push_async_callback(neighbours.peers.close)
        renewal = Renewal(batching, neighbours, config.directory, config.data)
        renewal.check = identity.check
        # (4) the ports, when all behind them works: only the last of them has an entry signed
        latch = partial(_witness_latch, data.store)
        cosigning = CosigningDesk(witness_keys, node, config.witnessed, latch=latch, shows=bool(config.witness_listen))
        office = Office(batching, neighbours.peers, renewal, transfers, cosigning, quotas=_quotas(config))
        server = Server(office, server_credentials(lambda: node.directory, tls.shown), reflect=config.reflection)
        readiness = Readiness(batching, server.ready)
        await stack.enter_async_context(_probed(config, batching, readiness))
        witness_address = await stack.enter_async_context(_witness_over_http(config, cosigning))
        port = await stack.enter_async_context(_listening(server, config, batching))
        # (5) what changes or ends while it runs, all who cosign, and a time authority
        neighbours.peers.start()
        renewal.start()
        stack.push_async_callback(renewal.close)
        await readiness.look()
        for watch in (
            readiness.run(),
            learning.learn(batching),
            tls.run(lambda: node.directory, neighbours.renew),
            measure(metrics.gauges.lagged),
            notify.keep_telling(),
            Readings(config, batching).run(),
            expiry.watch(config, node),
            sightings.watch(batching, cosigning),
            disclosures.watch(batching, config.requests),
            _errands(config, identity.keys, renewal, batching, neighbours.peers),
        ):
            stack.push_async_callback(_ended, asyncio.create_task(watch))
        neighbours.witnessing.start()
        stack.push_async_callback(neighbours.witnessing.close)
        await stack.enter_async_context(_asked_outside(config, batching, cosigned, believed))
        if notes:
            keep = SharedLatch(notes, LOG_LATCH, FileLatch(config.latch)).keep
            await stack.enter_async_context(Following(batching, cosigned, renewal, keep))
        stack.callback(batching.bells.end)
        stack.push_async_callback(server.refuse)
        stack.callback(readiness.end)
        look = partial(_each, renewal.look_now, tls.look_now)
        yield Relay(batching, _address(config.listen, port), look, witness_address)


@contextlib.asynccontextmanager
async def _transfers(node: Node) -> AsyncIterator[Transfers]:
    transfers = Transfers(node)
    transfers.start()
    try:
        yield transfers
    finally:
        await transfers.close()


@contextlib.asynccontextmanager
async def _listening(server: Server, config: Config, batching: Batching) -> AsyncIterator[int]:
    """Answer calls, once it is logged under which settings.

    A start that fails must leave the log as it was, or no backup from before it can be put back: an upgrade goes back
    that way.
    """
    port = server.bind(config.listen)
    await _log_settings(config, batching)
    await server.start()
    try:
        yield port
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _writing(batching: Batching) -> AsyncIterator[None]:
    """Commit for as long as the block lasts, once it is known what was revoked."""
    batching.start()
    try:
        batching.standing.learn(await batching.read(batching.standing.read))
        yield
    finally:
        await batching.close()


def _each(*calls: Callable[[], None]) -> None:
    for call in calls:
        call()


def _quotas(config: Config) -> Quotas:
    size = config.party_mib * 1024 * 1024
    return Quotas(Share(config.party_messages, size, config.party_calls, config.party_connections), time.monotonic)


def _neighbours(config: Config, batching: Batching, tls: Tls, cosigned: Cosigned) -> Neighbours:
    """Return the other relays, less those to which no network leads."""
    quarantine = Quarantine(batching, config.data / "undeliverable")
    return Neighbours(
        batching,
        tls.shown,
        cosigned,
        quarantine=quarantine,
        witness_seconds=config.witness_seconds,
        by_courier=config.courier,
    )


def _errands(
    config: Config, keys: LogKeys, renewal: Renewal, batching: Batching, peers: Peers
) -> Coroutine[None, None, None]:
    """Return what makes and takes pouches; what they tell of messages is answered from now on."""
    courier = Courier(batching, renewal.take, keys, config.courier, config.pouches, reserve=config.reserve)
    peers.told = courier.told
    return errands.watch(courier, config.errands)


@contextlib.asynccontextmanager
async def _asked_outside(
    config: Config, batching: Batching, cosigned: Cosigned, believed: Authorities | None
) -> AsyncIterator[None]:
    """Ask a time authority and witnesses outside the community, where the operator names some."""
    async with contextlib.AsyncExitStack() as stack:
        if believed:
            timestamps = Timestamps(batching.node, config, believed, batching.metrics)
            timestamps.start(batching.nodes)
            stack.push_async_callback(timestamps.close)
        foreign = Foreign(batching.node, config.witness_foreign, cosigned, seconds=config.witness_seconds)
        foreign.start(batching.nodes)
        stack.push_async_callback(foreign.close)
        yield


@contextlib.asynccontextmanager
async def _traced(config: Config, metrics: Metrics) -> AsyncIterator[Traces]:
    """Send traces where the operator wants that; those that wait go out in the end."""
    traces = _traces(config, metrics)
    try:
        yield traces
    finally:
        await asyncio.to_thread(traces.close)


def _traces(config: Config, metrics: Metrics) -> Traces:
    """Return the traces that the settings ask for; without a collector, OpenTelemetry is not even imported."""
    if not config.traces_url:
        return Traces()
    try:
        from infoexchange_relay.otel import SpanTraces
    except ImportError:
        next_step = "Run: pip install 'infoexchange[otel]', or leave traces_url empty."
        detail = "OpenTelemetry is not installed"
        raise error(Reason.UNAVAILABLE, field="traces_url", detail=detail, next_step=next_step) from None
    return SpanTraces.to(config.traces_url, config.name, metrics, percent=config.traces_percent)


def _witness_latch(store: RowStore, file: Path) -> Latch:
    """Return the memory of this relay's witness for one log, which is the same at every node."""
    return latch_of(store, file, f"witness {file.name}")


@contextlib.asynccontextmanager
async def _witness_over_http(config: Config, cosigning: CosigningDesk) -> AsyncIterator[str]:
    """Answer logs and monitors over HTTP where the operator wants that; give the address, or nothing."""
    if not config.witness_listen:
        yield ""
        return
    endpoint = HttpEndpoint(cosigning.add_submission, cosigning.shown, _on_bug)
    try:
        port = await endpoint.start(*parse_address(config.witness_listen))
    except OSError as problem:
        next_step = "Stop the program that listens there, or set another `witness_listen`."
        raise _not_listening(config.witness_listen, problem, next_step) from None
    address = _address(config.witness_listen, port)
    _log.info("witness_ready", address=address)
    try:
        yield address
    finally:
        await endpoint.stop()


def _on_bug(bug: Exception) -> None:
    _log.error("witness_call_failed", reason=type(bug).__name__)  # its text may hold bytes of a request


def _address(listen: str, port: int) -> str:
    """Return what was asked for, with the port that was found."""
    host, _ = parse_address(listen)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _log_settings(config: Config, batching: Batching) -> None:
    """Log under which settings and which software the relay runs, where they are others than before."""
    job = await batching.read(partial(batching.node.configured, config.digest, __version__))
    if job is not None:
        [result] = await batching.settle([lambda: job], 0)
        if isinstance(result, ExchangeError):
            raise result


@contextlib.asynccontextmanager
async def _probed(config: Config, batching: Batching, readiness: Readiness) -> AsyncIterator[None]:
    """Answer Prometheus and probes where the operator wants that."""
    if not config.metrics_listen:
        yield
        return
    address, loop = parse_address(config.metrics_listen), asyncio.get_running_loop()
    try:
        probes = Probes(address, batching.metrics.registry, loop, lambda: readiness.now)
    except OSError as problem:
        next_step = "Stop the program that listens there, or set another `metrics_listen`."
        raise _not_listening(config.metrics_listen, problem, next_step) from None
    probes.start()
    try:
        yield
    finally:
        await asyncio.to_thread(probes.end)


def _not_listening(listen: str, problem: OSError, next_step: str) -> Exception:
    detail = problem.strerror or "cannot listen there"
    return error(Reason.UNAVAILABLE, field=listen, detail=detail, next_step=next_step)


@contextlib.contextmanager
def _signals(told: asyncio.Event, look_now: Callable[[], None]) -> Iterator[None]:
    """Set `told` at SIGTERM and SIGINT, and look for a newer directory and certificate at SIGHUP."""
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
