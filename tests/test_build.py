"""Parts built from Python's values: exact, in UTC, and refused at once where they cannot be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

import typed_building
from infoexchange import catalogue
from infoexchange.catalogue import build, codes, marks, rules
from infoexchange.errors import ExchangeError, Reason

VICTIM = catalogue.PERSON_ROLE_VICTIM


def test_ten_lines_hold():
    message = typed_building.seizure()
    assert rules.violations(message) == []
    assert message.handling.onward_transfer == catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED
    unit = message.items[0].quantity.unit
    assert (unit.version, unit.value) == (codes.load("drug-unit").version, "GRAM")
    assert rules.violations(typed_building.told()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [("12.50", "12.50"), (12, "12"), (Decimal("0.001"), "0.001"), ("-1.5", "-1.5"), ("1e3", "1000"), ("1e-3", "0.001"),
     ("0.00", "0.00"), (-(2**63), str(-(2**63))), ("9.223372036854775807", "9.223372036854775807")],
)  # fmt: skip
def test_decimals_are_exact(value, text):
    made = build.decimal(value)
    assert marks.decimal_text(made.unscaled, made.scale) == text
    assert rules.violations(made) == []


@pytest.mark.parametrize("value", [0.1, "x", "", "NaN", "Infinity", "1e-19", "1e40", 2**63, "1,5", None])
def test_what_is_no_decimal(value):
    with pytest.raises(ExchangeError) as refused:
        build.decimal(value)
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, "decimal")


def test_times_keep_their_zone():
    made = build.instant(datetime(2026, 2, 1, 8, 30, tzinfo=timezone(timedelta(hours=7))), stated_as="0830 LT")
    assert made.utc.ToJsonString() == "2026-02-01T01:30:00Z"
    assert (made.local_offset_minutes, made.stated_as) == (420, "0830 LT")
    assert not build.instant(datetime(2026, 2, 1, tzinfo=UTC)).HasField("local_offset_minutes")
    with pytest.raises(ExchangeError, match="zone"):
        build.instant(datetime(2026, 2, 1))  # noqa: DTZ001  that is the point


@pytest.mark.parametrize(
    ("make", "field", "said"),
    [
        (lambda: build.day(2026, 2, 30), "date", "calendar"),
        (lambda: build.money("1", "XYZ"), "currency", "iso-4217"),
        (lambda: build.code("drug-class", "HERION"), "value", "Did you mean HEROIN"),
        (lambda: build.code("no-such-list", "x"), "system", "list"),
        (lambda: build.point(104.5, 1.25), "point", "Latitude comes first"),
        (
            lambda: build.person("p", catalogue.PERSON_ROLE_VICTIM, catalogue.MINOR_NO, build.name("x")),
            "names",
            "pseudonym",
        ),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(make, field, said):
    with pytest.raises(ExchangeError) as refused:
        make()
    assert refused.value.field == field
    assert said in str(refused.value)


def test_dates_may_be_partial():
    assert rules.violations(build.day(2026)) == []
    assert build.day(2026, 2).month == 2
    victim = build.person("p", catalogue.PERSON_ROLE_VICTIM, catalogue.MINOR_UNKNOWN, pseudonym="EX-1")
    assert victim.pseudonym == "EX-1"
