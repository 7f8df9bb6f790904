"""Otel: what each hop did with an envelope, as OpenTelemetry spans.

A trace is named after the envelope's digest, so that the spans of all relays on its way meet in one trace although
nothing about traces travels in the message. A span says which relay, which event and which reason; it never names a
sender or a recipient, and nothing of the content is known here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, set_span_in_context

from infoexchange.audit import Routing
from infoexchange.errors import Reason
from infoexchange.ports import Change
from infoexchange.states import Event
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.traces import Traces

# Whatever else is passed is dropped, as with keys of log lines.
ALLOWED = frozenset({"relay", "peer", "event", "reason", "digest"})

# Implementation constants
_SECONDS = 5.0  # in which a collector has to take a batch; only the end of the program waits for it
_LAST_SECONDS = 8.0  # for what waits when the relay stops; the rest is lost
_QUEUED_MAX = 8192  # spans, some ten megabytes; the oldest go when the collector is slow
_BATCH = 512
_PAUSE_MS = 2000  # between two batches, so that whoever looks need not wait long
_NS = 1_000_000_000
# QUEUED is left out: it stands in the same commit as ACCEPTED.
_OUTER = {Event.ACCEPTED: "accept", Event.DELIVERED: "deliver"}  # what a caller waits for, not only the commit in it

_log = structlog.get_logger()


class SpanTraces(Traces):
    """Spans for a collector; a thread of their own sends them, and what it cannot send is counted and gone."""

    on = True

    def __init__(self, relay: str, exporter: SpanExporter, metrics: Metrics, *, percent: int = 100) -> None:
        """Begin.

        Args:
            relay: Name of this relay.
            exporter: Where spans go.
            metrics: Counts what was lost.
            percent: Of a hundred envelopes, how many are traced: the same ones at every relay with that number.
        """
        # Complaints would get round the list of keys that lines of the log may have.
        spoken = logging.getLogger("opentelemetry")
        spoken.handlers, spoken.propagate = [logging.NullHandler()], False
        self._relay = relay
        self._bound = percent * 2**64 // 100
        self._ids = _Ids()
        # Nothing is taken from the machine or its environment.
        resource = Resource({"service.name": "infoexchange-relay", "service.instance.id": relay})
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        self._processor = BatchSpanProcessor(
            _Told(exporter, metrics),
            max_queue_size=_QUEUED_MAX,
            schedule_delay_millis=_PAUSE_MS,
            max_export_batch_size=_BATCH,
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("infoexchange_relay")

    @classmethod
    def to(cls, url: str, relay: str, metrics: Metrics, *, percent: int) -> SpanTraces:
        """Return traces that go to a collector, by OTLP over HTTP."""
        return cls(relay, OTLPSpanExporter(url, timeout=_SECONDS), metrics, percent=percent)

    def committed(self, seconds: float, changes: Iterable[tuple[int, Change]]) -> None:
        """Tell of a batch that is durable now."""
        ended = time.time_ns()
        began = ended - int(seconds * _NS)
        for got, change in changes:
            if not change.event.of_message or change.event is Event.QUEUED or not self._is_traced(change.digest):
                continue
            said = {"event": change.event.name.lower()}
            name, outer = _OUTER.get(change.event), None
            if name:
                outer = self._begin(name, change.digest, got, said, inside=None if _is_first(change) else change.digest)
            self._begin("commit", change.digest, began, said, inside=outer or change.digest).end(ended)
            if outer:
                outer.end(ended)

    def forwarded(self, peer: str, began: int, results: Iterable[tuple[bytes, Reason | None]]) -> None:
        """Tell of a call that handed envelopes to a peer, just now answered."""
        ended = time.time_ns()
        for digest, reason in results:
            if self._is_traced(digest):
                said = {"peer": peer, "reason": reason.word if reason else ""}
                self._begin("forward", digest, began, said, inside=digest).end(ended)

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        ending = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)

    def _is_traced(self, digest: bytes) -> bool:
        return int.from_bytes(digest[8:16], "big") < self._bound

    def _begin(
        self, name: str, digest: bytes, at: int, said: Mapping[str, str], *, inside: Span | bytes | None
    ) -> Span:
        """Return a span: inside another one, or below the root of an envelope's trace; with None it is the root."""
        context = Context()
        if isinstance(inside, bytes):
            context = set_span_in_context(NonRecordingSpan(_root(inside)), context)
        elif inside:
            context = set_span_in_context(inside, context)
        full = {"relay": self._relay, "digest": digest.hex(), **said}
        attributes = {f"infoexchange.{key}": value for key, value in full.items() if key in ALLOWED and value}
        self._ids.given = _root(digest) if inside is None else None
        return self._tracer.start_span(name, context, attributes=attributes, start_time=at)


class _Ids(RandomIdGenerator):
    """Makes ids: those of a root are given, all others random. Spans are begun in the event loop only."""

    given: SpanContext | None = None

    def generate_span_id(self) -> int:
        return self.given.span_id if self.given else super().generate_span_id()

    def generate_trace_id(self) -> int:
        return self.given.trace_id if self.given else super().generate_trace_id()


class _Told(SpanExporter):
    """An exporter of whose failures the operator hears: once in a line, and every span in a counter."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001  a collector may answer anything, and stops nothing
            result = SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails:
            self._metrics.spans_lost(len(spans))
        if fails and not self._fails:
            _log.warning("traces_not_taken", count=len(spans))
        elif self._fails and not fails:
            _log.info("traces_taken_again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _root(digest: bytes) -> SpanContext:
    """Return what every relay takes for the root of an envelope's trace; ids may not be 0."""
    trace, span = int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _is_first(change: Change) -> bool:
    """Whether a change is where the envelope's way begins: it came from an agency, not from another relay."""
    return change.event is Event.ACCEPTED and not Routing.parse(change.entry.routing).previous_relay
