"""Remote: a relay at the other end of a channel, behind the same ports as one in this process.

Every call has a deadline of its own (`timeout=`; gRPC's service config fires early or not at all, grpc/grpc #34547).
Methods may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict

import grpc

from infoexchange.bundle import KeyBundle
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.envelope import ENVELOPE_SIZE_MAX
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing
from infoexchange.ports import BATCH_MAX, History, Notice, Result
from infoexchange.transport import forms
from infoexchange.transport.attachments import RemoteChunks
from infoexchange.transport.overtaking import overtaken
from infoexchange.transport.status import calling
from infoexchange.v1 import relay_pb2, relay_pb2_grpc

# Specification constants
LEAVES_MAX = 1024  # leaves in one answer; one is below 128 bytes

# Implementation constants
_TIMEOUT = timedelta(seconds=30)
# Fetching goes at the pace of the application that handles what comes; a relay that went away is noticed by keepalive.
_FETCH_TIMEOUT = timedelta(minutes=10)
_DIRECTORIES_MAX = 16 * 1024 * 1024  # bytes; four of the largest versions, thousands of a usual size
_NAMES_MAX = 32  # bundles of so many parties fit into one answer unless their revocation lists are long


class _Call(TypedDict):
    """Arguments of every call."""

    timeout: float
    wait_for_ready: bool


class _Fetch:
    """A call of Fetch: an `overtaking.Stream`."""

    def __init__(self, call: Any, address: str) -> None:
        self._call = call
        self._address = address

    def frames(self) -> Iterator[Sequence[bytes]]:
        with calling(self._address):
            for response in self._call:
                yield tuple(response.envelopes)

    def cancel(self) -> None:
        self._call.cancel()


class RemoteRelay:
    """The `HomeRelay` port of a relay that is reached over gRPC, for the party whose certificate the channel carries.

    Errors are those the relay raised, the same class and reason; anything that gRPC itself reports is UNAVAILABLE with
    `address` as its field.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        timeout: timedelta = _TIMEOUT,
        address: str = "relay",
        wait_for_ready: bool = False,
    ) -> None:
        """Use an open channel; closing it stays the caller's business.

        Args:
            channel: From `open_channel`.
            timeout: Longest time one call may take, whatever it carries.
            address: How errors name the relay.
            wait_for_ready: Whether a call waits, up to its timeout, for a relay that cannot be reached just now.
        """
        self._relay = relay_pb2_grpc.RelayServiceStub(channel)
        self._bulletin = relay_pb2_grpc.BulletinServiceStub(channel)
        self._audit = relay_pb2_grpc.AuditServiceStub(channel)
        self._address = address
        self.chunks = RemoteChunks(channel, timeout=timeout, address=address)
        self._call = _Call(timeout=timeout.total_seconds(), wait_for_ready=wait_for_ready)

    # Relay

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        """Hand over envelopes in frames; one result each."""
        # What no relay takes must not end the stream for the others.
        sent = [raw for raw in envelopes if len(raw) <= ENVELOPE_SIZE_MAX]
        batches = list(forms.frames(sent))
        requests = (relay_pb2.SubmitRequest(envelopes=batch) for batch in batches)

        def answers() -> Iterator[tuple[int, Sequence[relay_pb2.Result]]]:
            responses = self._relay.Submit(requests, **self._call)
            for batch, response in zip(batches, responses, strict=False):
                yield len(batch), response.results

        results = iter(self._collect(len(sent), answers()))
        return [next(results) if len(raw) <= ENVELOPE_SIZE_MAX else _too_large(raw) for raw in envelopes]

    def fetch(self) -> Iterator[Sequence[bytes]]:
        """Yield batches of what waits, highest precedence first, until nothing is left that was not yielded.

        FLASH overtakes also what is under way here, once more than one batch waits.

        After 1,024 envelopes of which none was acknowledged the relay ends the stream; the rest comes with the next
        call.
        """
        return overtaken(self._stream(follow=False), partial(self._stream, follow=True, flash=True))

    def follow(self) -> Iterator[Sequence[bytes]]:
        """Yield batches of what waits and of what arrives, for as long as the connection and the caller last."""
        return overtaken(self._stream(follow=True), partial(self._stream, follow=True, flash=True))

    def _stream(self, *, follow: bool, flash: bool = False) -> _Fetch:
        timeout = None if follow else _FETCH_TIMEOUT.total_seconds()
        call = self._relay.Fetch(relay_pb2.FetchRequest(follow=follow, flash=flash), timeout=timeout)
        return _Fetch(call, self._address)

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Say what became of fetched envelopes, 256 at a time."""

        def answers() -> Iterator[tuple[int, Sequence[relay_pb2.Result]]]:
            for start in range(0, len(notices), BATCH_MAX):
                batch = [_notice_to_wire(notice) for notice in notices[start : start + BATCH_MAX]]
                request = relay_pb2.AcknowledgeRequest(acknowledgements=batch)
                yield (
                    len(batch),
                    self._relay.Acknowledge(request, **self._call).results,
                )

        return self._collect(len(notices), answers())

    def _collect(self, count: int, answers: Iterable[tuple[int, Sequence[relay_pb2.Result]]]) -> list[Result]:
        """Return `count` results; of items that no answer speaks of it is only known that nothing is known.

        Raises:
            ExchangeError: When there was no answer at all.
        """
        results: list[Result] = []
        try:
            with calling(self._address):
                for expected, answer in answers:
                    if len(answer) != expected:
                        detail = f"{len(answer)} results for {expected} items"
                        raise error(Reason.UNAVAILABLE, field=self._address, detail=detail)
                    results += [forms.result_from_wire(result) for result in answer]
        except ExchangeError as problem:
            if not results:
                raise
            detail = f"the call ended early: {problem.reason.word}, {problem.detail}"
        else:
            detail = f"{len(results)} results for {count} items"
        unknown = error(Reason.UNAVAILABLE, field=self._address, detail=detail)
        return results + [unknown] * (count - len(results))

    # Bulletin

    def directories(self, after: int) -> Sequence[bytes]:
        """Return the directory versions after `after`, ascending; none of it is verified here.

        After 16 MiB the rest is left for the next call, so that a lying relay cannot fill the memory.
        """
        found: list[bytes] = []
        while sum(map(len, found)) < _DIRECTORIES_MAX:
            request = relay_pb2.GetDirectoryRequest(after_version=after)
            with calling(self._address):
                answer = self._bulletin.GetDirectory(request, **self._call).directories
            if not answer:
                return found
            found += answer
            newest = _version(answer[-1])
            if newest <= after:
                raise error(Reason.DIRECTORY_ROLLBACK, field=self._address, detail=f"version {newest} after {after}")
            after = newest
        return found

    def publish_directory(self, raw: bytes) -> Result:
        """Publish the next directory version; the caller verifies the receipt."""
        request = relay_pb2.PublishDirectoryRequest(directory=raw)
        with calling(self._address):
            return forms.result_from_wire(self._bulletin.PublishDirectory(request, **self._call).result)

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return the bundles of the parties named, newest epoch first for each; the caller verifies them."""
        found: list[KeyBundle] = []
        for start in range(0, len(names), _NAMES_MAX):
            found += self._bundles(names[start : start + _NAMES_MAX])
        return found

    def _bundles(self, names: Sequence[str]) -> list[KeyBundle]:
        try:
            with calling(self._address):
                request = relay_pb2.GetBundlesRequest(names=names)
                answer = self._bulletin.GetBundles(request, **self._call).bundles
        except ExchangeError as problem:
            if problem.reason is not Reason.TOO_LARGE or len(names) < 2:
                raise
            # Long revocation lists: ask for half as many.
            middle = len(names) // 2
            return self._bundles(names[:middle]) + self._bundles(names[middle:])
        return [forms.bundle_from_wire(message) for message in answer]

    def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        """Publish bundles; each becomes a log entry."""
        messages = [forms.bundle_to_wire(bundle) for bundle in bundles]

        def answers() -> Iterator[tuple[int, Sequence[relay_pb2.Result]]]:
            done = 0
            for batch in forms.frames([message.SerializeToString() for message in messages]):
                request = relay_pb2.PublishBundlesRequest(bundles=messages[done : done + len(batch)])
                yield (
                    len(batch),
                    self._bulletin.PublishBundles(request, **self._call).results,
                )
                done += len(batch)

        return self._collect(len(bundles), answers())

    # Log

    def checkpoint(self, origin: str = "") -> bytes:
        """Return the newest signed checkpoint, or the last one of a closed log."""
        with calling(self._address):
            request = relay_pb2.GetCheckpointRequest(origin=origin)
            return self._audit.GetCheckpoint(request, **self._call).checkpoint

    def cosigned(self) -> bytes:
        """Return the newest checkpoint with enough cosignatures; nothing where there is none yet."""
        with calling(self._address):
            request = relay_pb2.GetCheckpointRequest()
            return self._audit.GetCheckpoint(request, **self._call).cosigned

    def consistency(self, old_size: int, size: int, origin: str = "") -> Sequence[bytes]:
        """Return how two sizes of a log hang together; the caller verifies it."""
        with calling(self._address):
            request = relay_pb2.GetConsistencyRequest(old_size=old_size, size=size, origin=origin)
            return tuple(self._audit.GetConsistency(request, **self._call).hashes)

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer at the end of the log."""
        found: list[bytes] = []
        while len(found) < count:
            wanted = min(LEAVES_MAX, count - len(found))
            request = relay_pb2.GetLeavesRequest(start=start + len(found), count=wanted)
            with calling(self._address):
                answer = self._audit.GetLeaves(request, **self._call).leaves
            found += answer[:wanted]
            if len(answer) < wanted:
                break
        return found

    def events(self, digest: bytes) -> History:
        """Return the history of an envelope the caller takes part in; the caller verifies the receipts."""
        request = relay_pb2.GetEventsRequest(envelope_digest=digest)
        with calling(self._address):
            answer = self._audit.GetEvents(request, **self._call)
        return History(tuple(forms.receipt_from_wire(m) for m in answer.events), tuple(answer.statements))


def _too_large(raw: bytes) -> ExchangeError:
    return error(Reason.TOO_LARGE, field="envelope", detail=f"{len(raw)} bytes, at most {ENVELOPE_SIZE_MAX}")


def _notice_to_wire(notice: Notice) -> relay_pb2.Acknowledgement:
    return relay_pb2.Acknowledgement(
        envelope_digest=notice.digest,
        state=int(notice.state),
        statement=notice.statement,
    )


def _version(raw: bytes) -> int:
    """Return the version a directory claims: enough to ask for the next one."""
    dsse = Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
    return Listing.parse(dsse.payload).version
