"""Rules: whether a message may be sent, and what to change when it may not.

Most rules stand in the `.proto` files, where every language finds them; protovalidate reads them from there, and is
loaded at first use because it costs 100 ms. Here stand only check digits and what a rule of one message cannot see:
minors and victims anywhere in a message, local references, values of code lists.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.catalogue import PACKAGE, codes, digits
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_ZONE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<")
_CAS = re.compile(r"[0-9]{2,7}-[0-9]{2}-[0-9]")
_CONTAINER = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_TLP_AMBER_STRICT, _MINOR_NO, _NO_JUDICIAL_USE, _NO_ONWARD = 4, 2, 2, 3
_PRESERVE_IMEI, _IMEI_LENGTH = 5, 15
_VICTIM_ROLES = frozenset({4, 5})  # VICTIM, POSSIBLE_VICTIM
_IDENTITY_FIELDS = ("names", "documents", "addresses", "phones")
# The one type made to carry who a victim is; it has recipients of its own.
_IDENTITY_TYPE = f"{PACKAGE}.SealedIdentity"


# google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z
_SECONDS_MIN, _SECONDS_MAX = -62135596800, 253402300799


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, which, why, and what would be right."""

    field: str
    rule: str
    detail: str
    next_step: str

    def as_error(self) -> ExchangeError:
        """Return the error that says the same."""
        return error(Reason.RULE_BROKEN, field=self.field, detail=self.detail, next_step=self.next_step)


def check(message: Message) -> None:
    """Accept a message that may be sent; anything else is refused with its first broken rule.

    Raises:
        RefusedError: `RULE_BROKEN` with the path of the field and an example of what is right.
    """
    for violation in violations(message):
        raise violation.as_error()


# What a newer sender may know and this software not: never a reason to lose a message.
_NEWER = frozenset({"enum.defined_only", "currency.in_list"})


def check_received(message: Message) -> None:
    """Accept a message that may be used: as `check`, but a newer sender's values and currencies pass outside the marks.

    An unknown value in Handling is refused, because nobody can honour a mark they do not know.

    Raises:
        RefusedError: `RULE_BROKEN`, as `check`.
    """
    for violation in violations(message):
        if violation.rule in _NEWER and violation.field.partition(".")[0] != "handling":
            continue
        raise violation.as_error()


def violations(message: Message) -> list[Violation]:
    """Return every broken rule of a message, those of the `.proto` files first; an empty list means it may be sent."""
    from protovalidate import CompilationError, EvaluationError, collect_violations

    untimely = list(_times(message, ""))
    if untimely:  # what cannot be printed or computed with would only make other rules fail in odd ways
        return untimely
    try:
        found = [_from_protovalidate(message, raw.proto) for raw in collect_violations(message)]
    except (CompilationError, EvaluationError):
        # The rule engine bounds its work, so that no message can hold up whoever receives it.
        detail = "it is too large to be checked as one message"
        return [Violation("", "evaluation", detail, "Divide its records between several messages.")]
    # Check digits of a value that has not even the right shape would only repeat the complaint.
    broken = {violation.field for violation in found}
    found.extend(violation for violation in _own(message) if violation.field not in broken)
    return found


def _from_protovalidate(message: Message, raw: Any) -> Violation:
    """Return our form of a violation; a rule over several fields names its field in its id (see options.proto)."""
    elements = list(raw.field.elements) if raw.field else []
    path, descriptor = "", None
    for element in elements:
        index = element.subscript
        path += f".{element.field_name}" + (f"[{index.value}]" if index is not None and index.field == "index" else "")
    if raw.rule is None or not raw.rule.elements:
        path += "." + raw.rule_id.rpartition(".")[0]
    path = path.strip(".")
    descriptor = _field_at(message.DESCRIPTOR, path)
    return Violation(path, raw.rule_id, raw.message, _next_step(path, descriptor))


def _field_at(descriptor: Any, path: str) -> Any:
    """Return the descriptor of the field, or of the choice between fields, a path ends in; or None."""
    field: Any = None
    for part in path.split("."):
        if descriptor is None:
            return None
        name = part.partition("[")[0]
        field = descriptor.fields_by_name.get(name) or descriptor.oneofs_by_name.get(name)
        descriptor = getattr(field, "message_type", None)
    return field


def _next_step(path: str, field: Any) -> str:
    """Say what would be right, from the field's own example, its enum or its type."""
    if field is None:
        return f"Correct {path} and send again."
    if hasattr(field, "fields"):
        return f"Set one of {', '.join(choice.name for choice in field.fields)}."
    example = field.GetOptions().Extensions[_options().example]
    if example:
        return f"Set {path}, for example: {example}."
    if field.enum_type:
        values = field.enum_type.values
        prefix = values[0].name.removesuffix("UNSPECIFIED")
        return f"Set {path} to one of {', '.join(value.name.removeprefix(prefix) for value in values[1:])}."
    if field.message_type and field.message_type.full_name == "google.protobuf.Timestamp":
        return f"Set {path}, for example: 2026-01-31T08:00:00Z."
    return f"Correct {path} and send again."


def _options() -> Any:
    from infoexchange.catalogue.v1 import options_pb2

    return options_pb2


# What only code can check. Each test yields the field below the record, the rule and the reason.
_Found = Iterator[tuple[str, str, str]]


def _vessel(record: Any) -> _Found:
    if record.imo and not (len(record.imo) == 7 and record.imo.isdecimal() and digits.is_imo(record.imo)):
        yield "imo", "imo.check_digit", "the last digit does not fit the other six"
    yield from _communications(record)


def _communications(record: Any) -> _Found:
    if record.mmsi and not (len(record.mmsi) == 9 and record.mmsi.isdecimal() and digits.is_mmsi(record.mmsi)):
        yield "mmsi", "mmsi.shape", "this is not the number of a ship's station"


def _phone(record: Any) -> _Found:
    if record.imei and record.imei.isdecimal() and not digits.is_luhn(record.imei):
        yield "imei", "imei.check_digit", "the last digit does not fit the others"


def _organisation(record: Any) -> _Found:
    if record.lei and record.lei.isalnum() and record.lei.isascii() and not digits.is_mod97(record.lei):
        yield "lei", "lei.check_digit", "the last two digits do not fit the others"


def _document(record: Any) -> _Found:
    lines = list(record.mrz)
    if all(set(line) <= _ZONE_CHARACTERS for line in lines) and not digits.is_machine_readable_zone(lines):
        yield "mrz", "mrz.check_digit", "a check digit does not fit"


def _substance(record: Any) -> _Found:
    if _CAS.fullmatch(record.cas) and not digits.is_cas(record.cas):
        yield "cas", "cas.check_digit", "the last digit does not fit the others"


def _container(record: Any) -> _Found:
    if _CONTAINER.fullmatch(record.number) and not digits.is_container(record.number):
        yield "number", "number.check_digit", "the last digit does not fit the others"


def _identifier(record: Any) -> _Found:
    is_imei = record.kind == _PRESERVE_IMEI and len(record.value) == _IMEI_LENGTH and record.value.isdecimal()
    if is_imei and not digits.is_luhn(record.value):
        yield "value", "value.check_digit", "the last digit does not fit the others"


def _account(record: Any) -> _Found:
    if _IBAN.fullmatch(record.iban) and not digits.is_iban(record.iban):
        yield "iban", "iban.check_digit", "the two digits after the country do not fit the others"
    yield from _currency(record)


def _currency(record: Any) -> _Found:
    if record.currency and codes.load("iso-4217").find(record.currency) is None:
        yield "currency", "currency.in_list", "ISO 4217 has no such currency"


def _code(record: Any) -> _Found:
    # A version this software does not have is no error: lists change per country and per year.
    if record.system in codes.names():
        known = codes.load(record.system)
        if record.version == known.version and known.find(record.value) is None:
            yield "value", "value.in_list", f"the list {known.name} {known.version} has no such value"


_TESTS: dict[str, Callable[[Any], _Found]] = {
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


class _Plan(NamedTuple):
    """What to look at in records of one type: computed once, so that a set of thousands is walked quickly."""

    test: Callable[[Any], _Found] | None
    has_id: bool
    is_person: bool
    refs: tuple[Any, ...]
    children: tuple[tuple[Any, _Plan], ...]

    @property
    def is_empty(self) -> bool:
        return not (self.test or self.has_id or self.is_person or self.refs or self.children)


@functools.cache
def _plan(descriptor: Any) -> _Plan:
    # No catalogue type contains itself (a test proves it), so this ends.
    fields = descriptor.fields
    local_ref = _options().local_ref
    nested = [(field, _plan(field.message_type)) for field in fields if field.message_type]
    return _Plan(
        test=_TESTS.get(descriptor.full_name),
        has_id="local_id" in descriptor.fields_by_name,
        is_person=descriptor.full_name == f"{PACKAGE}.Person",
        refs=tuple(field for field in fields if field.GetOptions().Extensions[local_ref]),
        children=tuple((field, plan) for field, plan in nested if not plan.is_empty),
    )


def _walk(record: Any, plan: _Plan, path: str) -> Iterator[tuple[str, Any, _Plan]]:
    """Give every record that something is to be checked in, with its path."""
    yield path, record, plan
    for field, below in plan.children:
        if field.is_repeated:
            for index, child in enumerate(getattr(record, field.name)):
                yield from _walk(child, below, f"{path}{field.name}[{index}].")
        elif record.HasField(field.name):
            yield from _walk(getattr(record, field.name), below, f"{path}{field.name}.")


@functools.cache
def _timed(descriptor: Any) -> tuple[tuple[Any, bool], ...]:
    """Return the fields of a type that are points in time (True), or hold some further down (False)."""
    found = []
    for field in descriptor.fields:
        if field.message_type and field.message_type.full_name == "google.protobuf.Timestamp":
            found.append((field, True))
        elif field.message_type and _timed(field.message_type):
            found.append((field, False))
    return tuple(found)


def _times(record: Any, path: str) -> Iterator[Violation]:
    """Give every point in time that lies outside the years 1 to 9999, for which no calendar has a date."""
    for field, is_time in _timed(record.DESCRIPTOR):
        if not field.is_repeated and not record.HasField(field.name):
            continue
        value = getattr(record, field.name)
        for index, one in enumerate(value if field.is_repeated else (value,)):
            where = f"{path}{field.name}[{index}]" if field.is_repeated else f"{path}{field.name}"
            if not is_time:
                yield from _times(one, f"{where}.")
            elif not (_SECONDS_MIN <= one.seconds <= _SECONDS_MAX and 0 <= one.nanos < 1_000_000_000):
                yield Violation(where, "timestamp", "outside the years 1 to 9999", _next_step(where, field))


def _own(message: Any) -> Iterator[Violation]:
    """Give the violations of the rules that stand in this module."""
    ids: set[str] = set()
    refs: list[tuple[str, str]] = []
    minor = False
    for path, record, plan in _walk(message, _plan(message.DESCRIPTOR), ""):
        if plan.test:
            for name, rule, detail in plan.test(record):
                yield Violation(path + name, rule, detail, _next_step(path + name, _field_at(record.DESCRIPTOR, name)))
        if plan.has_id and record.local_id:
            if record.local_id in ids:
                detail = "another record of this message has the same local_id"
                step = f"Give {path}local_id a value of its own."
                yield Violation(f"{path}local_id", "local_id.unique", detail, step)
            ids.add(record.local_id)
        if plan.is_person and record.role in _VICTIM_ROLES and message.DESCRIPTOR.full_name != _IDENTITY_TYPE:
            yield from _named_victim(record, path)
        minor = minor or (plan.is_person and record.is_minor != _MINOR_NO)
        for field in plan.refs:
            value = getattr(record, field.name)
            if field.is_repeated:
                refs.extend((f"{path}{field.name}[{index}]", one) for index, one in enumerate(value))
            elif value:
                refs.append((f"{path}{field.name}", value))
    for where, value in refs:
        if value not in ids:
            detail = "no record of this message has this local_id"
            step = f"Set {where} to the local_id of a record of this message."
            yield Violation(where, "local_ref.known", detail, step)
    if minor:
        yield from _minors(message)


def _named_victim(record: Any, path: str) -> Iterator[Violation]:
    """Give what tells who a victim is, outside the message type made for it."""
    for name in _IDENTITY_FIELDS:
        if getattr(record, name):
            step = f"Clear {path}{name}, set {path}pseudonym, and send a SealedIdentity to those who need to know."
            yield Violation(f"{path}{name}", f"{name}.victim", "a victim travels by pseudonym", step)


def _minors(message: Any) -> Iterator[Violation]:
    """Give what the marks of a message lack that holds a minor, or a person who may be one."""
    if "handling" not in message.DESCRIPTOR.fields_by_name:
        return
    marks = message.handling
    if marks.tlp < _TLP_AMBER_STRICT:
        detail = "the message holds a person who is or may be a minor"
        yield Violation("handling.tlp", "tlp.minor", detail, "Set handling.tlp to AMBER_STRICT or RED.")
    kinds = {restriction.kind for restriction in marks.restrictions}
    if not {_NO_JUDICIAL_USE, _NO_ONWARD} <= kinds:
        detail = "the message holds a person who is or may be a minor"
        step = "Add the restrictions NO_JUDICIAL_USE and NO_ONWARD to handling.restrictions."
        yield Violation("handling.restrictions", "restrictions.minor", detail, step)
