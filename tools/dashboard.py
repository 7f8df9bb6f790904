"""Dashboard: the relay's page for Grafana, made from one list of what is drawn.

Writes relay/deploy/dashboard.json, which Grafana imports as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "relay" / "deploy" / "dashboard.json"
_PREFIX = "infoexchange_relay_"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT = 24, 8  # Grafana's grid has 24 columns
_RELAY = 'instance=~"$instance"'

_DEPTH = "max by (queue, precedence) ($mqueue_envelopes{$r})"  # nodes of one relay see the same queues

# A row of panels under each heading: title, unit, what each line is called, and the queries. `$m` is a metric's prefix,
# `$r` chooses the relays.
ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "Now": [
        ("Takes messages", "bool_yes_no", [("{{instance}}", "$mready{$r}")]),
        ("Version", "none", [("{{version}}", "$minfo{$r}")]),
        ("Entries in the log", "short", [("{{instance}}", "$mlog_entries{$r}")]),
    ],
    "Messages": [
        (
            "Waiting, by precedence",
            "short",
            [("{{precedence}}", f"sum by (precedence) ({_DEPTH})")],
        ),
        (
            "Waiting, by queue",
            "short",
            [("{{queue}}", f"sum by (queue) ({_DEPTH})")],
        ),
        (
            "Oldest that waits",
            "s",
            [("{{precedence}}", "max by (precedence) ($mqueue_oldest_seconds{$r})")],
        ),
        (
            "Accepted and delivered",
            "ops",
            [
                ("accepted", "sum(rate($menvelopes_accepted_total{$r}[5m]))"),
                ("delivered", "sum(rate($menvelopes_delivered_total{$r}[5m]))"),
            ],
        ),
        ("Forwarded, by relay", "ops", [("{{peer}}", "sum by (peer) (rate($menvelopes_forwarded_total{$r}[5m]))")]),
        ("Ways that ended", "ops", [("{{event}}", "sum by (event) (rate($menvelopes_ended_total{$r}[5m])) > 0")]),
        ("Relays that are away", "short", [("{{peer}}", "max by (peer) ($mpeer_circuit{$r})")]),
        (
            "Refused, by reason",
            "ops",
            [("{{reason}}", "sum by (reason) (rate($menvelopes_refused_total{$r}[5m])) > 0")],
        ),
    ],
    "Audit log": [
        (
            "Commit",
            "s",
            [
                ("half", "histogram_quantile(0.5, sum by (le) (rate($mcommit_seconds_bucket{$r}[5m])))"),
                ("99 of 100", "histogram_quantile(0.99, sum by (le) (rate($mcommit_seconds_bucket{$r}[5m])))"),
            ],
        ),
        (
            "Without a quorum of witnesses",
            "s",
            [("{{instance}}", "$muncosigned_seconds{$r}"), ("limit", "max($muncosigned_limit_seconds{$r})")],
        ),
        (
            "Age of checkpoints",
            "s",
            [
                ("signed", "time() - max($mcheckpoint_timestamp_seconds{$r})"),
                ("cosigned", "time() - max($mcosigned_timestamp_seconds{$r} > 0)"),
            ],
        ),
        (
            "Time authority",
            "short",
            [
                ("stamped entries", "max($mtimestamped_entries{$r})"),
                ("failed attempts in an hour", "sum(increase($mtimestamps_failed_total{$r}[1h]))"),
            ],
        ),
    ],
    "Callers": [
        ("Calls and connections", "short", [("calls", "sum($mcalls{$r})"), ("connections", "sum($mconnections{$r})")]),
        (
            "Calls refused, by reason",
            "ops",
            [("{{reason}}", "sum by (reason) (rate($mcalls_refused_total{$r}[5m])) > 0")],
        ),
        ("Readers woken", "ops", [("{{instance}}", "rate($mqueue_wakes_total{$r}[5m])")]),
    ],
    "Machine": [
        ("Free on disk", "bytes", [("{{instance}} {{volume}}", "$mdisk_free_bytes{$r}")]),
        ("Size of disks", "bytes", [("{{instance}} {{volume}}", "$mdisk_size_bytes{$r}")]),
        ("Attachments", "bytes", [("{{instance}}", "$mattachments_bytes{$r}")]),
        (
            "Event loop late, 99 of 100",
            "s",
            [
                (
                    "{{instance}}",
                    "histogram_quantile(0.99, sum by (instance, le) (rate($mloop_lag_seconds_bucket{$r}[5m])))",
                )
            ],
        ),
        ("Memory", "bytes", [("{{instance}}", "process_resident_memory_bytes{$r}")]),
        ("Processor", "percentunit", [("{{instance}}", "rate(process_cpu_seconds_total{$r}[5m])")]),
        ("Open files", "short", [("{{instance}}", "process_open_fds{$r}")]),
        (
            "Errors of the store",
            "short",
            [("{{reason}}", "sum by (reason) (increase($mstore_errors_total{$r}[5m])) > 0")],
        ),
        ("Spans lost", "short", [("{{instance}}", "increase($mspans_lost_total{$r}[5m])")]),
        (
            "Reading the gauges",
            "s",
            [("took", "max($mlook_seconds{$r})"), ("ago", "time() - min($mlooked_timestamp_seconds{$r})")],
        ),
    ],
    "Papers": [("Ends in", "s", [("{{what}}", "min by (what) ($mends_timestamp_seconds{$r}) - time()")])],
}


def dashboard() -> dict[str, Any]:
    """Return the page as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for heading, drawn in ROWS.items():
        panels.append(_row(heading, len(panels) + 1, top))
        top += 1
        across = min(3, len(drawn))
        width = _WIDTH // across
        for place, (title, unit, queries) in enumerate(drawn):
            where = {"h": _HEIGHT, "w": width, "x": place % across * width, "y": top + place // across * _HEIGHT}
            panels.append(_panel(len(panels) + 1, title, unit, queries) | {"gridPos": where})
        top += -(-len(drawn) // across) * _HEIGHT
    return {
        "uid": "infoexchange-relay",
        "title": "infoexchange relay",
        "tags": ["infoexchange"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _instances()]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    where = {"h": 1, "w": _WIDTH, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": where}


def _panel(number: int, title: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": _SOURCE,
            "expr": query.replace("$m", _PREFIX).replace("$r", _RELAY),
            "legendFormat": legend,
        }
        for place, (legend, query) in enumerate(queries)
    ]
    kind = "stat" if unit in ("bool_yes_no", "none") else "timeseries"
    defaults = {"unit": unit, "min": 0} if title != "Ends in" else {"unit": unit}
    return {
        "id": number,
        "type": kind,
        "title": title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"textMode": "name"} if unit == "none" else {},
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _instances() -> dict[str, Any]:
    return {
        "name": "instance",
        "label": "Relay",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({_PREFIX}info, instance)", "refId": "instances"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


def text() -> str:
    """Return what the file holds."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
