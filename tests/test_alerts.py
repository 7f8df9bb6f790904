"""Dashboard, alert rules and the page about them speak of what the relay exports, of all of it, and of nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashboard
import pytest
import yaml

from alerting import HEALTHY, MINUTES, WRONG
from infoexchange.errors import Reason
from infoexchange.testing.clock import START
from infoexchange_relay.gauges import ENDINGS, VOLUMES
from infoexchange_relay.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
RULES_FILE = ROOT / "relay" / "deploy" / "alerts.yaml"
PAGE = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]
OURS = "infoexchange_relay_"
# What Prometheus itself adds to each series, and the one series that it makes.
ADDED, UP = {"instance", "job"}, "up"
WORDS = {"by", "or", "and", "sum", "max", "min", "time", "rate", "increase", "histogram_quantile", "predict_linear"}


def exported() -> dict[str, set[str]]:
    """The labels of every series that a relay shows, by its name."""
    metrics = Metrics(["relay.vn.example"])
    metrics.refused(Reason.EXPIRED)
    metrics.circuit("relay.vn.example", is_open=True)
    metrics.gauges.queues(["relay.vn.example"], {})
    metrics.gauges.ends(dict.fromkeys(ENDINGS, START))
    for volume in VOLUMES:
        metrics.gauges.disk(volume, 1, 2)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples if not sample.name.endswith("_created")}


EXPORTED = exported()
PANELS = [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES]


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """The series that a query asks for, with the labels by which it chooses among them."""
    bare = re.sub(r"\bby \([^)]*\)|\[[^]]*\]", "", query)
    for name, chosen in re.findall(r"([a-z_]{2,})\b(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', bare)):
        if name not in WORDS and not re.search(rf"\{{[^}}]*\b{name}\b", bare):
            yield name, set(re.findall(r"(\w+)[=!]", chosen))


def family(name: str) -> str:
    """Series of one metric have endings of their own."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_the_page_of_grafana_is_made_from_its_list():
    assert dashboard.FILE.read_text() == dashboard.text(), "run: python tools/dashboard.py"
    page = json.loads(dashboard.text())
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    for panel in page["panels"]:
        where = panel["gridPos"]
        assert 0 <= where["x"] < where["x"] + where["w"] <= 24
    taken = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in page["panels"]]
    assert len(set(taken)) == len(taken)


def test_the_reader_of_queries_finds_names_and_labels():
    query = 'sum by (le) (rate(infoexchange_relay_x_bucket{reason=~"a|b",peer!="c"}[5m])) > 0.75 * time()'
    assert list(selectors(query)) == [("infoexchange_relay_x_bucket", {"reason", "peer"})]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_the_relay_exports(query: str):
    found = list(selectors(query))
    assert found
    for name, labels in found:
        assert name == UP or name in EXPORTED, name
        assert labels <= EXPORTED.get(name, set()) | ADDED, name
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        assert set(grouped.split(", ")) <= set.union(*(EXPORTED[name] for name, _ in found)) | ADDED


def test_everything_that_the_relay_exports_is_drawn_or_watched():
    asked = {family(name) for query in QUERIES for name, _ in selectors(query)}
    assert {family(name) for name in EXPORTED if name.startswith(OURS)} == {n for n in asked if n.startswith(OURS)}


def test_the_page_explains_every_metric_and_every_alert_and_nothing_else():
    metrics = {family(name).removeprefix(OURS) for name in EXPORTED if name.startswith(OURS)}
    first = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## Alerts")[0], re.MULTILINE)
    assert (set(first), len(first)) == (metrics, len(metrics))
    told = re.findall(r"^\| `([A-Z]\w+)` \|", PAGE.partition("## Alerts")[2], re.MULTILINE)
    assert told == [rule["alert"] for rule in RULES]


def test_every_alert_says_how_bad_it_is_and_what_to_do_first():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert rule["annotations"]["runbook"].endswith(".")
        assert "\n" not in rule["annotations"]["runbook"]


def test_every_alert_is_set_off_by_something():
    assert set().union(*(alerts for _, alerts in WRONG)) == {rule["alert"] for rule in RULES}
    assert {key for series, _ in WRONG for key in series} <= HEALTHY.keys()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: apt install prometheus)")
def test_prometheus_sounds_each_alert_when_it_must_and_no_other(tmp_path: Path):
    shutil.copy(RULES_FILE, tmp_path)
    series = {
        key.replace('instance="a"', f'instance="{n}"'): values
        for n, (wrong, _) in enumerate(WRONG)
        for key, values in {**HEALTHY, **wrong}.items()
    }
    expected = [f'{{alertname="{name}",instance="{n}"}}' for n, (_, alerts) in enumerate(WRONG) for name in alerts]
    asked = {
        "expr": 'count by (alertname, instance) (ALERTS{alertstate="firing"})',
        "eval_time": f"{MINUTES}m",
        "exp_samples": [{"labels": labels, "value": 1} for labels in expected],
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [asked],
    }
    file = tmp_path / "cases.yaml"
    # Twice an hour is often enough for what lasts, and quick.
    run = {"rule_files": [RULES_FILE.name], "evaluation_interval": "30m", "tests": [case]}
    file.write_text(yaml.safe_dump(run))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
