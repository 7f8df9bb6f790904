"""Markup, element by element: what is looked for is given whole, nothing else is kept, every bound holds."""

from __future__ import annotations

import pytest

from infoexchange import markup
from infoexchange.errors import ExchangeError, Reason

DOCUMENT = b"<a><x/><b n='1'><c>one</c><b/></b><d><b n='2'>two</b>tail</d><b n='3'/></a>"


def each(raw, size=7, name="b"):
    return list(markup.each((raw[at : at + size] for at in range(0, len(raw), size)), name))


@pytest.mark.parametrize("size", [3, 7, 1000])
def test_elements_are_given_whole_and_in_order(size):
    found = each(DOCUMENT, size)
    assert [one.attribute("n") for one in found] == ["1", "2", "3"]
    assert found[0].value("c") == "one"
    assert len(found[0].children) == 2  # one inside another is a part of it
    assert found[1].text == "two"
    assert each(DOCUMENT, size, "a")[0].value("d", "b") == "two"
    assert each(DOCUMENT, size, "none") == []


def test_nothing_else_is_kept():
    reader = markup.each(iter([b"<a>", b"<x/>" * 1000, b"<b/>", b"<x/>" * 1000, b"</a>"]), "b")
    next(reader)
    root = reader.gi_frame.f_locals["reader"].root
    assert root is not None
    assert root.children == []


def test_bounds(monkeypatch):
    monkeypatch.setattr(markup, "ELEMENTS_MAX", 10)
    monkeypatch.setattr(markup, "ELEMENTS_EACH_MAX", 100)
    assert len(each(b"<a>" + b"<b/>" * 99 + b"</a>")) == 99
    for wrong in (b"<a>" + b"<b/>" * 100 + b"</a>", b"<a><b>" + b"<x/>" * 11 + b"</b></a>"):
        with pytest.raises(ExchangeError) as refused:
            each(wrong)
        assert refused.value.reason is Reason.TOO_LARGE
    with pytest.raises(ExchangeError) as refused:
        each(b"<a>" * 65 + b"</a>" * 65)
    assert refused.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("wrong", [
    b"", b"<a>", b"<a/><b/>", b"<a>&x;</a>", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b" " * 70_000 + b"<a/>",
])  # fmt: skip
def test_what_is_no_document_is_refused(wrong):
    with pytest.raises(ExchangeError) as refused:
        each(wrong, 1 << 16)
    assert refused.value.reason is Reason.MALFORMED
