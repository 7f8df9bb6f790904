"""Pages of reports: every number stands there with its entries, nothing is fetched, nothing runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoexchange.audit import Entry, Routing, Subject
from infoexchange.cli.pages.account import COUNTS, LISTS, as_data, lasting, tables
from infoexchange.cli.pages.elements import document, element, entries, table
from infoexchange.cli.pages.log import log_page
from infoexchange.cli.pages.plots import bars, columns
from infoexchange.spans import Spans
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Check, Verdict
from reporting import HOLDS, account_of, busy_exchange, records_of

VOID = {"meta", "link"}


class Outline(HTMLParser):
    """Tags in order, attributes by tag, text, ids and headings; what is not closed in order is an error."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return busy_exchange()


@pytest.fixture(scope="module")
def page(exchange: Exchange) -> bytes:
    return log_page(account_of(exchange), ["infoexchange audit verify-log LOG"])


def test_it_stands_alone(page):
    found = Outline(page)
    assert not {"script", "iframe", "object", "embed", "img", "form", "video", "audio", "base"} & set(found.tags)
    targets = {value for _, name, value in found.attributes if name in {"href", "src", "srcset", "action", "data"}}
    assert all(value.startswith("#") or value == "data:," for value in targets)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    style = re.search(rb"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert b"url(" not in style
    assert b"@import" not in style
    assert b"default-src 'none'" in page


def test_its_structure_is_sound(page):
    found = Outline(page)
    assert ("html", "lang", "en") in found.attributes
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = [value[1:] for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert links[0] == "main"
    assert set(links) <= set(ids)
    named = [v for _, name, value in found.attributes if name == "aria-labelledby" for v in value.split()]
    assert named
    assert set(named) <= set(ids)
    levels = [int(tag[1]) for tag in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    counts = Counter(found.tags)
    assert counts["caption"] == counts["table"] > 8
    scopes = [value for tag, name, value in found.attributes if (tag, name) == ("th", "scope")]
    assert len(scopes) == counts["th"]
    assert counts["svg"] == counts["figure"] == counts["figcaption"] == counts["desc"] > 2


def test_every_number_is_there_with_its_entries(exchange, page):
    account = account_of(exchange)
    text = Outline(page).text
    data = as_data(account)
    assert json.loads(json.dumps(data)) == data
    for name, heading, _ in COUNTS:
        assert (heading in text) or not data[name]
        for key, number in data[name].items():
            places = [n for a, b in number["entries"] for n in range(a, b + 1)]
            assert number["count"] == len(places) > 0
            assert key in text
            assert Spans(places).text(60) in text
    for name, _, _ in LISTS:
        for occurrence in data[name]:
            assert occurrence["what"] in text
            assert occurrence["about"][:16] in text
    assert {name for name, _, _ in LISTS if data[name]} == {"keys", "directory", "recalls", "refusals", "expiries"}
    accepted = data["events"]["ACCEPTED"]["count"]
    assert sum(n["count"] for n in data["precedences"].values()) == accepted
    assert data["waits"]["delivered"]["median"]["entry"] in {
        n for a, b in data["events"]["DELIVERED"]["entries"] for n in range(a, b + 1)
    }
    printed = [part if isinstance(part, str) else str(part.rows) for part in tables(account)]
    for key, number in data["events"].items():
        assert any(key in part and str(number["count"]) in part for part in printed)


@pytest.mark.parametrize(
    ("hidden", "checks", "word", "says", "never"),
    [
        ((), HOLDS, "TOTAL-PASSED", "What it proves", "prove nothing"),
        ((5, 6), HOLDS, "INDETERMINATE", "every number is a lower bound: 5-6", "no record was missing"),
        (
            (),
            (Check("root", Verdict.TOTAL_FAILED, "bad_proof", "the entries do not give the signed root"),),
            "TOTAL-FAILED",
            "the numbers below prove nothing",
            "What it proves",
        ),
    ],
)
def test_the_words_fit_the_verdict(exchange, hidden, checks, word, says, never):
    records = [None if r.index in hidden else r for r in records_of(exchange)]
    account = account_of(exchange, records, checks=checks)
    assert (account.report.verdict.word, as_data(account)["verdict"]) == (word, word)
    text = Outline(log_page(account, [])).text
    assert [w for w in ("TOTAL-PASSED", "TOTAL-FAILED", "INDETERMINATE") if w in text] == [word]
    assert says in text
    assert never not in text


def test_records_shown_in_part_are_never_passed(exchange):
    records = records_of(exchange)
    half = replace(records[3].entry, message=b"", salts=(records[3].entry.salts[0], b"", b""))
    records[3] = replace(records[3], entry=half)
    assert account_of(exchange, records).report.verdict is Verdict.INDETERMINATE


def test_a_clock_set_back_is_never_passed(exchange):
    records = records_of(exchange)
    said = Routing.parse(records[-1].entry.routing)
    entry = Entry.make(replace(said, logged_at=said.logged_at - timedelta(days=30)), Subject())
    account = account_of(exchange, [*records, replace(records[-1], index=len(records), entry=entry)])
    assert account.report.verdict is Verdict.INDETERMINATE
    assert "clock set back" in Outline(log_page(account, [])).text


HOSTILE = "</style><script>alert(1)</script><img src=x onerror=y>\u202e\x00&lt;\"'"


def test_nothing_that_a_log_says_becomes_markup(exchange, page):
    """Names come from logs of others, and whoever wrote them may have meant a browser."""
    records = records_of(exchange)
    changed = []
    for record in records:
        said, about = Routing.parse(record.entry.routing), Subject.parse(record.entry.message)
        clean = {"sender": said.sender and HOSTILE.replace("\x00", ""), "sender_nation": HOSTILE[:20]}
        clean["recipients"] = tuple(HOSTILE.replace("\x00", "") for _ in said.recipients)
        changed.append(replace(record, entry=Entry.make(replace(said, **clean), about)))
    found = Outline(log_page(account_of(exchange, changed), [HOSTILE]))
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert "<script>alert(1)</script>" in found.text
    assert not {"\u202e", "\x00"} & set(found.text)
    assert found.tags.count("style") == 1


@settings(max_examples=40)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_comes_through_as_text(first, second):
    page = document("t", first, [("a", "b", table(second, ["x"], [[first]]))], element("p", second))
    found = Outline(page)
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in first)
    assert found.tags.count("p") == 1
    assert "\r" not in page.decode()
    assert shown.replace("\n", " ").strip() in found.text.replace("\n", " ")


def test_long_lists_end_in_how_many_more():
    many = Spans(range(0, 400, 2))
    assert "and 140 more ranges" in "".join(entries(many).itertext())
    assert entries(Spans([1, 2, 5])) == "1-2, 5"
    assert entries(Spans()) == "none"


def test_plots_tell_in_words_what_they_draw():
    drawn = bars("n", "Title", [("a" * 30, 3), ("b", 0)])
    assert "a" * 30 + ": 3; b: 0" in "".join(drawn.itertext())
    assert bars("n", "Title", []) is None
    assert columns("n", "Title", [("one", 1)]) is None
    upright = columns("n", "Title", [(f"2026-01-{n:02}", n) for n in range(1, 31)])
    assert len(list(upright.iter("rect"))) == 30
    assert "30 columns from 2026-01-01 (1) to 2026-01-30 (30); the highest is 30." in "".join(upright.itertext())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.50 s"),
        (59.99, "59.99 s"),
        (61, "1 min 1 s"),
        (7500, "2 h 5 min"),
        (90_000, "25 h 0 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations(seconds, words):
    assert lasting(timedelta(seconds=seconds)) == words


def test_every_event_has_its_words():
    from infoexchange.cli.words import EVENTS

    assert set(EVENTS) == {event.name for event in Event}
