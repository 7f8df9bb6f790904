"""Server: what a relay offers on its port: the desks of its callers behind gRPC with TLS on both sides."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # ships no types

from infoexchange import certificates
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party
from infoexchange.node import Job
from infoexchange.ports import History, Notice, Result
from infoexchange.states import Precedence
from infoexchange.transport.attachments import add_attachments
from infoexchange.transport.channel import HARDENED
from infoexchange.transport.servicers import Context, add_servicers
from infoexchange.transport.witness import WitnessServicer, add_witness
from infoexchange.witness import Answer
from infoexchange_relay import edge
from infoexchange_relay.batching import Batching
from infoexchange_relay.fetching import Fetching
from infoexchange_relay.gate import Gate
from infoexchange_relay.outgoing import Outgoing
from infoexchange_relay.peers import Peers
from infoexchange_relay.quotas import Quotas, Share
from infoexchange_relay.renewal import Renewal
from infoexchange_relay.stores.claims import hurried, is_unasked
from infoexchange_relay.transfers import TransferDesk, Transfers
from infoexchange_relay.witnessing import CosigningDesk

# Implementation constants
_GRACE = 5.0  # seconds that calls under way may take when the relay stops

_log = structlog.get_logger()


@dataclass(frozen=True)
class Office:
    """What every desk works with."""

    batching: Batching
    peers: Peers
    renewal: Renewal
    transfers: Transfers
    cosigning: CosigningDesk | None = None
    outgoing: Outgoing = field(default_factory=Outgoing)
    quotas: Quotas = field(default_factory=lambda: Quotas(Share(), time.monotonic))

    def desk_for(self, context: Context) -> PartyDesk:
        """Return the desk of a call's caller, or raise as `edge.caller`."""
        connection = context.auth_context()
        desk = PartyDesk(self, lambda: self._caller(connection))
        desk.caller()
        return desk

    def let_in(self, context: Context) -> Party:
        """Return whose call it is, or raise as `edge.caller`; for every call once, which is counted."""
        metrics, connection = self.batching.metrics, context.peer()
        metrics.call_began(connection)
        # The stubs ask for a type of context of their own, which no caller has.
        context.add_done_callback(lambda _: metrics.call_ended(connection))  # type: ignore[arg-type]  # see above
        try:
            return self._caller(context.auth_context())
        except ExchangeError as problem:
            metrics.call_refused(problem.reason)
            raise

    def _caller(self, connection: Mapping[str, Iterable[bytes]]) -> Party:
        node = self.batching.node
        return edge.caller(connection, node.directory, node.clock(), self.batching.standing)

    def transfers_for(self, context: Context) -> TransferDesk:
        """Return the desk for attachments of a call's caller, or raise as `edge.caller`."""
        return self.transfers.desk_for(self.desk_for(context).caller)

    async def add_checkpoint(self, context: Context, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Cosign another relay's checkpoint."""
        return await self._witness().add_checkpoint(self._caller(context.auth_context()), old_size, proof, raw)

    async def remembered(self, context: Context, origin: str) -> bytes:
        """Tell what a log last had cosigned here."""
        self._caller(context.auth_context())
        return await self._witness().remembered(origin)

    def _witness(self) -> CosigningDesk:
        if self.cosigning is None:
            raise error(Reason.UNAVAILABLE, field="witness", detail=f"{self.batching.node.name} has no witness")
        return self.cosigning


class PartyDesk:
    """What the relay does for one caller: the `Desk` of `infoexchange.transport.servicers`."""

    def __init__(self, office: Office, caller: Callable[[], Party]) -> None:
        """Work for whom `caller` names; it is asked again for every frame, because streams outlive certificates."""
        self.caller = caller
        self._batching = office.batching
        self._peers = office.peers
        self._renewal = office.renewal
        self._transfers = office.transfers
        self._outgoing = office.outgoing
        self._quotas = office.quotas
        self._node = office.batching.node

    async def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        """Take one frame of envelopes."""
        caller = self.caller()
        self._quotas.take(caller, len(envelopes), sum(len(raw) for raw in envelopes))
        results = await self._settle(caller, envelopes)
        unasked = [place for place, result in enumerate(results) if is_unasked(result)]
        if unasked:
            again = [envelopes[place] for place in unasked]
            await self._transfers.ask(caller.name, again)
            results = [*results]
            for place, result in zip(unasked, await self._settle(caller, again), strict=True):
                results[place] = result
        return results

    async def _settle(self, caller: Party, envelopes: Sequence[bytes]) -> Sequence[Result]:
        decisions = [functools.partial(self._decide, caller, raw) for raw in envelopes]
        return await self._batching.settle(decisions, sum(len(raw) for raw in envelopes), caller.name)

    def _decide(self, caller: Party, raw: bytes) -> Job:
        with hurried():  # the threads that check serve everybody
            return self._node.decide(caller, raw)

    def fetch(self, *, follow: bool, flash: bool) -> AsyncIterator[Sequence[bytes]]:
        """Return frames of what waits, as `Fetching.frames` does."""
        fetching = Fetching(self._batching, self._peers.quarantine, self._outgoing, self.caller)
        return fetching.frames(follow=follow, least=Precedence.FLASH if flash else Precedence.ROUTINE)

    async def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Take what became of fetched envelopes."""
        caller = self.caller()
        self._quotas.check(caller)
        decisions = [functools.partial(self._node.decide_notice, caller, notice) for notice in notices]
        size = sum(len(notice.statement) for notice in notices)
        results = await self._batching.settle(decisions, size, caller.name)
        # Others decide how many messages there are to acknowledge; what is none is the caller's own doing.
        self._quotas.charge(caller, sum(isinstance(result, ExchangeError) for result in results))
        return results

    async def directories(self, after: int) -> Sequence[bytes]:
        """Return directory versions after `after`."""
        return await self._batching.read(functools.partial(self._node.directories, after))

    async def publish_directory(self, raw: bytes) -> Result:
        """Take a directory version, whoever brings it."""
        return await self._renewal.take(raw, self.caller().name)

    async def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles, also of parties behind other relays."""
        return await self._peers.bundles(self.caller(), names)

    async def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        """Publish bundles."""
        caller = self.caller()
        size = sum(len(bundle.raw) for bundle in bundles)
        self._quotas.take(caller, len(bundles), size)
        decisions = [functools.partial(self._node.decide_bundle, caller, bundle) for bundle in bundles]
        return await self._batching.settle(decisions, size, caller.name)

    async def checkpoint(self, origin: str) -> bytes:
        """Return the newest signed checkpoint, cosigned once it is, or the last one of a closed log."""
        return self._node.checkpoint(origin)

    async def cosigned(self) -> bytes:
        """Return the newest checkpoint that enough witnesses cosigned."""
        return self._node.ledger.cosigned()

    async def consistency(self, old_size: int, size: int, origin: str) -> Sequence[bytes]:
        """Return how two sizes of a log hang together."""
        return await self._batching.read(functools.partial(self._node.consistency, old_size, size, origin))

    async def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves under the newest checkpoint: what stands above it has no proof yet."""
        ledger = self._node.ledger
        count = max(0, min(count, ledger.size - start))
        leaves = functools.partial(self._node.store.leaves, ledger.base + start, count)
        return await self._batching.read(leaves) if count else []

    async def events(self, digest: bytes) -> History:
        """Return the history of an envelope, also from the relays it was forwarded to."""
        return await self._peers.events(self.caller(), digest)


class Server:
    """A gRPC server with the relay's services, health, and reflection where it is asked for."""

    def __init__(self, office: Office, credentials: grpc.ServerCredentials, *, reflect: bool = False) -> None:
        """Make a server that does not listen yet.

        Args:
            office: What the desks work with.
            credentials: From `server_credentials`.
            reflect: Whether reflection answers; for tools that have no .proto files.
        """
        self._credentials = credentials
        gate = Gate(office.let_in, office.quotas, _on_bug)
        self._server = grpc.aio.server(options=HARDENED, interceptors=[gate])
        self._health = health.aio.HealthServicer()
        witness = add_witness(self._server, WitnessServicer(office.add_checkpoint, office.remembered, _on_bug))
        attachments = add_attachments(self._server, office.transfers_for, _on_bug)
        self._names = (*add_servicers(self._server, office.desk_for, _on_bug), attachments, witness)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    def bind(self, listen: str) -> int:
        """Take the port, and return its number; nobody is answered there before `start`.

        Raises:
            UnavailableError: `UNAVAILABLE` when nobody can listen there.
        """
        try:
            port: int = self._server.add_secure_port(listen, self._credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise error(
                Reason.UNAVAILABLE,
                field=listen,
                detail="cannot listen there: the port is taken, or the address is not one of this machine's",
                next_step="Stop the program that listens there, or set another `listen` in the configuration.",
            )
        return port

    async def start(self) -> None:
        """Answer calls."""
        await self.ready(False)  # grpc's own answer is yes from the beginning
        await self._server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def ready(self, is_ready: bool) -> None:  # noqa: FBT001  the answer to one question
        """Say of the whole whether new messages are taken; each service goes on serving, also where they are not."""
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if is_ready else status.NOT_SERVING)

    async def refuse(self) -> None:
        """Say NOT_SERVING from now on, so that balancers and tools look elsewhere."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Take no more calls, let those under way end, and close the port."""
        await self._server.stop(_GRACE)


def server_credentials(
    current: Callable[[], Directory], pair: Callable[[], tuple[bytes, bytes]]
) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate of any nation's TLS CA, of the directory in force.

    TLS cannot know which CA belongs to which name; `edge.caller` does, for every call.

    Args:
        current: Gives the directory in force; asked for every new connection.
        pair: Gives the relay's PEM private key and certificate, another object when they are others; so is this.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when the directory lists no TLS CA.
    """

    def configuration(directory: Directory, shown: tuple[bytes, bytes]) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([shown], _tls_roots(directory))

    used = [(current(), pair())]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        directory, shown = current(), pair()
        if directory is used[0][0] and shown is used[0][1]:
            return None
        made = configuration(directory, shown)
        used[0] = directory, shown
        return made

    # The stubs leave out None, which says that nothing has changed.
    return grpc.dynamic_ssl_server_credentials(configuration(*used[0]), changed, True)  # type: ignore[arg-type]  # see above


def _tls_roots(directory: Directory) -> bytes:
    """Return every TLS CA as PEM, or raise `BAD_CERTIFICATE` when there is none."""
    cas = {ca: None for nation in directory.listing.nations for ca in nation.tls_cas}
    if not cas:
        raise error(Reason.BAD_CERTIFICATE, field="directory", detail="no nation has a TLS CA")
    return b"".join(certificates.to_pem(ca) for ca in cas)


def _on_bug(bug: Exception) -> None:
    # The type only: the text of an exception may hold message bytes.
    _log.error("call_failed", reason=type(bug).__name__)
