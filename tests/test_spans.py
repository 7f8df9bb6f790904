"""Spans: places in a log as ranges, compared with plain sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoexchange.spans import Spans

PLACES = st.lists(st.integers(0, 60), unique=True).map(sorted)


@given(PLACES, st.integers(-2, 62))
def test_it_holds_what_was_added_and_nothing_else(places, other):
    spans = Spans(places)
    ranges = list(spans)
    assert [n for a, b in ranges for n in range(a, b + 1)] == places
    assert all(b + 1 < a for (_, b), (a, _) in pairwise(ranges))
    assert (spans.count, len(spans), bool(spans)) == (len(places), len(ranges), bool(places))
    assert (other in spans) == (other in places)


@given(PLACES, PLACES)
def test_sets_behind_one_another_join(first, second):
    behind = [n + 61 for n in second]
    spans = Spans(first)
    spans.extend(Spans(behind))
    assert spans == Spans([*first, *behind])
    assert spans.count == len(first) + len(behind)


def test_the_last_place_again_changes_nothing_and_an_earlier_one_is_a_mistake():
    spans = Spans([3, 4, 4])
    assert (list(spans), spans.count) == ([(3, 4)], 2)
    with pytest.raises(ValueError, match="ascending"):
        spans.add(2)
    with pytest.raises(ValueError, match="ascending"):
        spans.extend(Spans([1]))
    assert "3" not in spans
    assert spans != [(3, 4)]


def test_text_ends_in_how_many_more():
    spans = Spans([0, 1, 2, 5, 7, 8])
    assert spans.text(8) == "0-2, 5, 7-8"
    assert spans.text(1) == "0-2 and 2 more ranges"
    assert Spans().text(3) == ""
