"""Build: parts of messages from Python's own values, where a wrong one is noticed at once.

Every message is an ordinary class with typed keywords; these functions make the parts that are tedious or easy to get
wrong: marks without a forgotten one, times that are in UTC, decimals that are never binary fractions, codes with the
version of their list. The values of enums have types of their own, so that a type checker refuses TLP_AMBER where an
operation status belongs. `rules.check(message)` says whether the whole may be sent; `send` does it in any case.
"""

from __future__ import annotations

import datetime as dt
import decimal as exact
import difflib

from google.protobuf.timestamp_pb2 import Timestamp

from infoexchange.catalogue import codes
from infoexchange.catalogue.marks import SCALE_MAX
from infoexchange.catalogue.v1 import common_pb2, handling_pb2, options_pb2
from infoexchange.errors import ExchangeError, Reason, error

_INT64 = 2**63


def handling(
    op_status: handling_pb2.OpStatus.ValueType,
    tlp: common_pb2.Tlp.ValueType,
    domain: options_pb2.Domain.ValueType,
    *,
    purpose: str,
    precedence: handling_pb2.Precedence.ValueType = handling_pb2.PRECEDENCE_ROUTINE,
) -> handling_pb2.Handling:
    """Return the marks that every message has. Whoever receives it asks before passing it on, unless you change that.

    Args:
        op_status: Real, exercise or test; never a default.
        tlp: How far it may travel; never a default.
        domain: The priority it belongs to.
        purpose: What it is sent for, in words.
        precedence: How urgently it travels.
    """
    return handling_pb2.Handling(
        op_status=op_status,
        precedence=precedence,
        domain=domain,
        tlp=tlp,
        onward_transfer=handling_pb2.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=purpose,
    )


def timestamp(at: dt.datetime) -> Timestamp:
    """Return a point in time, to the microsecond.

    Raises:
        MalformedError: `BAD_FIELD` where it names no zone: nobody would know which hour is meant.
    """
    if at.tzinfo is None:
        step = "Give it a zone, for example datetime(2026, 1, 31, 8, tzinfo=UTC)."
        raise error(Reason.BAD_FIELD, field="time", detail="it names no time zone", next_step=step)
    made = Timestamp()
    made.FromDatetime(at)
    return made


def instant(
    at: dt.datetime,
    precision: common_pb2.Precision.ValueType = common_pb2.PRECISION_UNSPECIFIED,
    *,
    stated_as: str = "",
) -> common_pb2.Instant:
    """Return a point in time as reports give it; the offset of its zone is kept beside UTC.

    Args:
        at: The time, with its zone.
        precision: How finely it is known; as fine as written where not said.
        stated_as: The reporter's own words for it.

    Raises:
        MalformedError: As `timestamp`.
    """
    made = common_pb2.Instant(utc=timestamp(at), precision=precision, stated_as=stated_as)
    offset = at.utcoffset()
    if offset:
        made.local_offset_minutes = int(offset.total_seconds()) // 60
    return made


def day(
    year: int,
    month: int = 0,
    of_month: int = 0,
    kind: common_pb2.DateKind.ValueType = common_pb2.DATE_KIND_EXACT,
) -> common_pb2.PartialDate:
    """Return a date of which month and day may be missing.

    Raises:
        MalformedError: `BAD_FIELD` where the calendar has no such day.
    """
    try:
        dt.date(year, month or 1, of_month or 1)
    except ValueError:
        raise error(Reason.BAD_FIELD, field="date", detail="the calendar has no such day") from None
    return common_pb2.PartialDate(kind=kind, year=year, month=month, day=of_month)


def decimal(value: str | int | exact.Decimal) -> common_pb2.Decimal:
    """Return a number with the precision it is stated with: "12.50" keeps its nought. Binary fractions have none.

    Raises:
        MalformedError: `BAD_FIELD` where it is no decimal of at most 18 places that fits 64 bits.
    """
    try:
        if isinstance(value, float):
            raise exact.InvalidOperation
        sign, figures, exponent = exact.Decimal(value).as_tuple()
        if not isinstance(exponent, int) or not -SCALE_MAX <= exponent <= SCALE_MAX:
            raise exact.InvalidOperation
    except (exact.InvalidOperation, TypeError, ValueError):
        step = 'Give it as text, for example "12.50".'
        raise error(Reason.BAD_FIELD, field="decimal", detail="this is no exact decimal", next_step=step) from None
    unscaled = int("".join(map(str, figures))) * 10 ** max(exponent, 0) * (-1 if sign else 1)
    if not -_INT64 <= unscaled < _INT64:
        raise error(Reason.BAD_FIELD, field="decimal", detail="it has too many digits")
    return common_pb2.Decimal(unscaled=unscaled, scale=max(-exponent, 0))


def money(amount: str | int | exact.Decimal, currency: str) -> common_pb2.Money:
    """Return a sum in a currency of ISO 4217.

    Raises:
        MalformedError: `BAD_FIELD` as `decimal`, or where there is no such currency.
    """
    return common_pb2.Money(amount=decimal(amount), currency=_listed("iso-4217", currency, "currency"))


def code(system: str, value: str) -> common_pb2.Code:
    """Return a value of a code list, with the version of the list that is known here.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where there is no such list, `BAD_FIELD` where it has no such value.
    """
    found = _listed(system, value, "value")
    return common_pb2.Code(system=system, version=codes.load(system).version, value=found)


def quantity(amount: str | int | exact.Decimal, system: str, unit: str) -> common_pb2.Quantity:
    """Return an amount with its unit, for example `quantity("12.50", "drug-unit", "GRAM")`.

    Raises:
        MalformedError: As `decimal` and `code`.
    """
    return common_pb2.Quantity(amount=decimal(amount), unit=code(system, unit))


def point(latitude: float, longitude: float) -> common_pb2.GeoPoint:
    """Return a position in degrees, north and east positive.

    Raises:
        MalformedError: `BAD_FIELD` where it is not on the globe, as when the two were exchanged.
    """
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        step = "Latitude comes first: -90 to 90, then longitude: -180 to 180."
        raise error(Reason.BAD_FIELD, field="point", detail="it is not on the globe", next_step=step)
    return common_pb2.GeoPoint(latitude=latitude, longitude=longitude)


def name(
    full: str,
    *,
    kind: common_pb2.NameKind.ValueType = common_pb2.NAME_KIND_PRIMARY,
    script: str = "",
    lang: str = "",
) -> common_pb2.PersonName:
    """Return a name as one text; many have no family part. For names in parts make a `PersonName`."""
    return common_pb2.PersonName(full=full, kind=kind, script=script, lang=lang)


def person(
    local_id: str,
    role: common_pb2.PersonRole.ValueType,
    is_minor: common_pb2.Minor.ValueType,
    *names: common_pb2.PersonName,
    pseudonym: str = "",
) -> common_pb2.Person:
    """Return a person. Whether it is a minor must be said, UNKNOWN included; a victim has a pseudonym and no name.

    Raises:
        RefusedError: `RULE_BROKEN` where a victim is named.
    """
    if names and role in (common_pb2.PERSON_ROLE_VICTIM, common_pb2.PERSON_ROLE_POSSIBLE_VICTIM):
        step = "Give a pseudonym, and send a SealedIdentity to those who need to know."
        raise error(Reason.RULE_BROKEN, field="names", detail="a victim travels by pseudonym", next_step=step)
    made = common_pb2.Person(local_id=local_id, role=role, is_minor=is_minor, pseudonym=pseudonym)
    made.names.extend(names)
    return made


def _listed(system: str, value: str, field: str) -> str:
    """Return a value as its list writes it."""
    listed = codes.load(system)
    row = listed.find(value)
    if row is None:
        raise _unlisted(listed, value, field)
    return row["value"]


def _unlisted(listed: codes.CodeList, value: str, field: str) -> ExchangeError:
    near = difflib.get_close_matches(value.lower(), listed.rows, 3)
    meant = f"Did you mean {', '.join(listed.rows[one]['value'] for one in near)}? " if near else ""
    step = f"{meant}`infoexchange types --list {listed.name}` shows the values."
    detail = f"the list {listed.name} {listed.version} has no such value"
    return error(Reason.BAD_FIELD, field=field, detail=detail, next_step=step)
