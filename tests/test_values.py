"""Dates, numbers and countries of other formats: what is understood, and what is left alone."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import Code, PartialDate, codes, values


@pytest.mark.parametrize("text", ["2026", "2026-02", "2026-02-28", "0001-01-01", "9999-12-31"])
def test_dates_come_back(text):
    found = values.partial_date(text)
    assert found is not None
    assert values.date_text(found) == text


@pytest.mark.parametrize(
    "text", ["", "26", "2026-00", "2026-13", "2026-02-30", "2026-2-3", "0000", "2026-02-01 noon", "２０２６"]
)
def test_what_is_no_date(text):
    assert values.partial_date(text) is None


def test_a_time_of_day_is_left_out_and_loose_dates_are_not_written():
    assert values.date_text(values.partial_date("2026-02-03T04:05:06+07:00")) == "2026-02-03"
    assert values.date_text(PartialDate(kind=3, year=1980, to_year=1982)) == ""
    assert values.date_text(PartialDate(kind=2, year=1980, month=3)) == "1980-03"


@pytest.mark.parametrize(
    ("text", "parts"), [("12.50", (1250, 2)), ("-0.5", (-5, 1)), ("0", (0, 0)), ("9" * 18, (10**18 - 1, 0))]
)
def test_numbers_keep_their_precision(text, parts):
    found = values.decimal(text)
    assert (found.unscaled, found.scale) == parts
    assert values.number_text(found) == text


@pytest.mark.parametrize("text", ["", "1,000", "1e3", "+1", ".5", "5.", "1" * 19, "1.000000000000000000", "१"])
def test_what_is_no_number(text):
    assert values.decimal(text) is None


def test_countries_and_currencies():
    assert (values.country("sg"), values.alpha3("SG"), values.alpha2("SGP")) == ("SG", "SGP", "SG")
    assert (values.country("zz"), values.alpha3(""), values.alpha2("UTO")) == ("", "", "")
    assert all(len(row["alpha3"]) == 3 for row in codes.load("iso-3166-1").rows.values())
    assert len(codes.load("iso-3166-1").rows) == 249
    assert [values.currency(text) for text in ("SGD", "sgd", "XBT", "")] == ["SGD", "", "", ""]


def test_codes_of_another_list_say_so():
    code = Code()
    assert values.set_code(code, "crypto-chain", "bitcoin")
    assert (code.value, code.version) == ("BITCOIN", codes.load("crypto-chain").version)
    assert not values.set_code(code, "crypto-chain", "X")
    assert (code.value, code.version) == ("X", values.UNLISTED)
    assert not values.set_code(code, "no-such-list", "X")
    assert (values.is_packaged("crypto-chain"), values.is_packaged("no-such-list")) == (True, False)
