"""Traces: the spans of all relays on an envelope's way meet under its digest, say nothing else, and stop nothing."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infoexchange.errors import Reason, UnavailableError
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing.sites import free_ports
from infoexchange_relay import otel, serve
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.otel import ALLOWED, SpanTraces
from infoexchange_relay.traces import Traces
from patience import until
from relays import AGENCIES, A, B, Relays, delivered, events, fetched

ROOT = Path(__file__).resolve().parent.parent
TH, VN = "relay.th.example", "relay.vn.example"
DIGEST = bytes(range(32))


def sent_through(relays: Relays, count: int = 1) -> list[bytes]:
    """Have envelopes carried from one nation to the other, and acknowledged; return their digests."""
    for code in relays.configs:
        relays.start(code)
    relays.publish()
    envelopes = [relays.seal(A, [B]) for _ in range(count)]
    results = relays.remote(A).submit([envelope.raw for envelope in envelopes])
    assert all(isinstance(result, Receipt) for result in results)
    until(lambda: len(fetched(relays.remote(B))) == count)
    delivered(relays.remote(B), [envelope.digest for envelope in envelopes])
    sender = relays.remote(A)
    until(lambda: all((Event.FORWARDED, TH) in events(sender, envelope.digest) for envelope in envelopes))
    return [envelope.digest for envelope in envelopes]


def with_traces(relays: Relays, url: str) -> Relays:
    relays.configs = {code: dataclasses.replace(c, traces_url=url) for code, c in relays.configs.items()}
    return relays


def said(span: ReadableSpan) -> dict[str, object]:
    return {key.removeprefix("infoexchange."): value for key, value in (span.attributes or {}).items()}


def test_the_spans_of_two_relays_meet_under_the_digest_and_name_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    memory = InMemorySpanExporter()
    monkeypatch.setattr(memory, "shutdown", lambda: None)  # the other relay is still running
    monkeypatch.setattr(otel, "OTLPSpanExporter", lambda url, timeout: memory)
    relays = with_traces(Relays(tmp_path, AGENCIES), "http://127.0.0.1:4318/v1/traces")
    try:
        one, two = sent_through(relays, 2)
    finally:
        relays.close()
    spans = memory.get_finished_spans()
    assert {span.context.trace_id for span in spans if span.context} == {
        int.from_bytes(one[:16], "big"),
        int.from_bytes(two[:16], "big"),
    }
    of_one = [span for span in spans if said(span)["digest"] == one.hex()]
    found = sorted((span.name, str(said(span)["relay"]), str(said(span).get("event", ""))) for span in of_one)
    assert found == [
        ("accept", TH, "accepted"),
        ("accept", VN, "accepted"),
        ("commit", TH, "accepted"),
        ("commit", TH, "forwarded"),
        ("commit", VN, "accepted"),
        ("commit", VN, "delivered"),
        ("deliver", VN, "delivered"),
        ("forward", TH, ""),
    ]
    # One tree: the first relay's `accept` is the root, and whatever is inside something is inside one of these spans.
    (root,) = (span for span in of_one if span.parent is None)
    assert (root.name, said(root)["relay"]) == ("accept", TH)
    assert root.context.span_id == int.from_bytes(one[16:24], "big")
    ids = {span.context.span_id for span in of_one}
    assert len(ids) == len(of_one)
    assert all(span.parent.span_id in ids for span in of_one if span.parent)
    assert all(span.start_time <= span.end_time for span in of_one)
    (forward,) = (span for span in of_one if span.name == "forward")
    assert said(forward)["peer"] == VN
    # Nothing else is said.
    assert {key for span in spans for key in said(span)} <= ALLOWED
    assert all(dict(span.resource.attributes).keys() == {"service.name", "service.instance.id"} for span in spans)
    text = "".join(span.to_json() for span in spans)
    assert not [name for name in (A, B, os.uname().nodename) if name in text]


class Collector(HTTPServer):
    """Takes spans as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.got: list[tuple[str, ExportTraceServiceRequest]] = []


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_gets_spans_by_otlp_over_http():
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    metrics = Metrics()
    traces = SpanTraces.to(f"http://127.0.0.1:{collector.server_port}/v1/traces", TH, metrics, percent=100)
    traces.forwarded(VN, time.time_ns(), [(DIGEST, Reason.EXPIRED)])
    traces.close()
    collector.shutdown()
    thread.join()
    collector.server_close()
    ((path, request),) = collector.got
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert (path, span.name, span.trace_id) == ("/v1/traces", "forward", DIGEST[:16])
    assert span.parent_span_id == DIGEST[16:24]
    assert {a.key: a.value.string_value for a in span.attributes} == {
        "infoexchange.relay": TH,
        "infoexchange.peer": VN,
        "infoexchange.reason": "expired",
        "infoexchange.digest": DIGEST.hex(),
    }
    assert b"infoexchange_relay_spans_lost_total 0.0" in metrics.render()


def test_a_dead_collector_stops_nothing_and_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    relays = with_traces(Relays(tmp_path, AGENCIES), f"http://127.0.0.1:{free_ports(1)[0]}/v1/traces")
    with structlog.testing.capture_logs() as lines:
        try:
            sent_through(relays)
        finally:
            relays.close()
    failed = [line for line in lines if line["event"] == "traces_not_taken"]
    assert 1 <= len(failed) <= len(relays.configs)
    assert not caplog.records
    assert not logging.getLogger("opentelemetry").propagate


class Moody(SpanExporter):
    """A collector that answers as it is told."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self._answers = iter(answers)
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        self.taken += len(spans)
        return answer


def test_what_is_lost_is_counted_and_the_operator_hears_when_it_begins_and_ends():
    metrics = Metrics()
    moody = Moody(RuntimeError("bytes"), SpanExportResult.FAILURE, SpanExportResult.SUCCESS)
    told = otel._Told(moody, metrics)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            told.export([None, None])
    assert [line["event"] for line in lines] == ["traces_not_taken", "traces_taken_again"]
    assert b"infoexchange_relay_spans_lost_total 4.0" in metrics.render()
    assert "bytes" not in str(lines)


def test_the_same_share_of_envelopes_is_traced_at_every_relay():
    digests = [n.to_bytes(2, "big") * 16 for n in range(0, 65536, 64)]
    found = []
    for relay in (TH, VN):
        memory = InMemorySpanExporter()
        traces = SpanTraces(relay, memory, Metrics(), percent=25)
        traces.forwarded(VN, time.time_ns(), [(digest, None) for digest in digests])
        traces.close()
        found.append({str(said(span)["digest"]) for span in memory.get_finished_spans()})
    assert found[0] == found[1] == {d.hex() for d in digests if d < b"\x40"}


def test_a_digest_that_begins_with_noughts_has_a_trace_too():
    memory = InMemorySpanExporter()
    traces = SpanTraces(TH, memory, Metrics())
    traces.forwarded(VN, time.time_ns(), [(bytes(32), None)])
    traces.close()
    (span,) = memory.get_finished_spans()
    assert (span.context.trace_id, span.parent.span_id) == (1, 1)


def test_without_a_collector_opentelemetry_is_not_even_imported(tmp_path: Path):
    program = "import sys, infoexchange_relay.serve; print([n for n in sys.modules if n.startswith('opentelemetry')])"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("src", "relay"))}
    done = subprocess.run([sys.executable, "-c", program], env=path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    relays = Relays(tmp_path, AGENCIES)
    relays.close()
    assert type(serve._traces(relays.configs["th"], Metrics())) is Traces


def test_a_collector_without_the_extra_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "infoexchange_relay.otel", None)
    relays = with_traces(Relays(tmp_path, AGENCIES), "http://127.0.0.1:4318/v1/traces")
    relays.close()
    with pytest.raises(UnavailableError, match=r"pip install 'infoexchange\[otel\]'") as caught:
        serve._traces(relays.configs["th"], Metrics())
    assert caught.value.field == "traces_url"


def test_nobody_need_listen():
    """What a relay without a collector calls does nothing."""
    quiet = Traces()
    quiet.committed(0.1, [])
    quiet.forwarded(VN, 0, [])
    quiet.close()
    assert not quiet.on
