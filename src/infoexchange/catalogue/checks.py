"""Checks: what only code can see in a single record, check digits and values of code lists.

Each test yields the field below the record, the rule that is broken, and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from infoexchange.catalogue import PACKAGE, codes, digits

_ZONE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<")
_CAS = re.compile(r"[0-9]{2,7}-[0-9]{2}-[0-9]")
_CONTAINER = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_PRESERVE_IMEI, _IMEI_LENGTH = 5, 15

Found = Iterator[tuple[str, str, str]]
Test = Callable[[Any], Found]


def _vessel(record: Any) -> Found:
    if record.imo and not (len(record.imo) == 7 and record.imo.isdecimal() and digits.is_imo(record.imo)):
        yield "imo", "imo.check_digit", "the last digit does not fit the other six"
    yield from _communications(record)


def _communications(record: Any) -> Found:
    if record.mmsi and not (len(record.mmsi) == 9 and record.mmsi.isdecimal() and digits.is_mmsi(record.mmsi)):
        yield "mmsi", "mmsi.shape", "this is not the number of a ship's station"


def _phone(record: Any) -> Found:
    if record.iccid and record.iccid.isdecimal() and not digits.is_luhn(record.iccid):
        yield "iccid", "iccid.check_digit", "the last digit does not fit the others"
    if record.imei and record.imei.isdecimal() and not digits.is_luhn(record.imei):
        yield "imei", "imei.check_digit", "the last digit does not fit the others"


def _organisation(record: Any) -> Found:
    if record.lei and record.lei.isalnum() and record.lei.isascii() and not digits.is_mod97(record.lei):
        yield "lei", "lei.check_digit", "the last two digits do not fit the others"


def _document(record: Any) -> Found:
    lines = list(record.mrz)
    if all(set(line) <= _ZONE_CHARACTERS for line in lines) and not digits.is_machine_readable_zone(lines):
        yield "mrz", "mrz.check_digit", "a check digit does not fit"


def _substance(record: Any) -> Found:
    if _CAS.fullmatch(record.cas) and not digits.is_cas(record.cas):
        yield "cas", "cas.check_digit", "the last digit does not fit the others"


def _container(record: Any) -> Found:
    if _CONTAINER.fullmatch(record.number) and not digits.is_container(record.number):
        yield "number", "number.check_digit", "the last digit does not fit the others"


def _identifier(record: Any) -> Found:
    is_imei = record.kind == _PRESERVE_IMEI and len(record.value) == _IMEI_LENGTH and record.value.isdecimal()
    if is_imei and not digits.is_luhn(record.value):
        yield "value", "value.check_digit", "the last digit does not fit the others"


def _account(record: Any) -> Found:
    if _IBAN.fullmatch(record.iban) and not digits.is_iban(record.iban):
        yield "iban", "iban.check_digit", "the two digits after the country do not fit the others"
    yield from _currency(record)


def _currency(record: Any) -> Found:
    if record.currency and codes.load("iso-4217").find(record.currency) is None:
        yield "currency", "currency.in_list", "ISO 4217 has no such currency"


def _code(record: Any) -> Found:
    # A version this software does not have is no error: lists change per country and per year.
    known = codes.version_of(record.system, record.version)
    if known and known.find(record.value) is None:
        yield "value", "value.in_list", f"the list {known.name} {known.version} has no such value"


TESTS: dict[str, Test] = {
    f"{PACKAGE}.Vessel": _vessel,
    f"{PACKAGE}.Communications": _communications,
    f"{PACKAGE}.Phone": _phone,
    f"{PACKAGE}.Organisation": _organisation,
    f"{PACKAGE}.IdentityDocument": _document,
    f"{PACKAGE}.Substance": _substance,
    f"{PACKAGE}.MixturePart": _substance,
    f"{PACKAGE}.Container": _container,
    f"{PACKAGE}.PreservationIdentifier": _identifier,
    f"{PACKAGE}.FinancialAccount": _account,
    f"{PACKAGE}.Money": _currency,
    f"{PACKAGE}.Code": _code,
}
