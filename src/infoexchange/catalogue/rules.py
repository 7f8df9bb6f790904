"""Rules: whether a message may be sent, and what to change when it may not.

Most rules stand in the `.proto` files, where every language finds them; protovalidate reads them from there, and is
loaded at first use because it costs 100 ms. Here stand only what a rule of one message cannot see: minors and victims
anywhere in a message, local references; check digits and values of code lists stand in `checks`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.catalogue import PACKAGE, checks, standards
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_TLP_AMBER_STRICT, _MINOR_NO, _NO_JUDICIAL_USE, _NO_ONWARD = 4, 2, 2, 3
_VICTIM_ROLES = frozenset({4, 5})  # VICTIM, POSSIBLE_VICTIM
_IDENTITY_FIELDS = ("names", "documents", "addresses", "phones")
# The one type made to carry who a victim is; it has recipients of its own.
_IDENTITY_TYPE = f"{PACKAGE}.SealedIdentity"


# google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z
_SECONDS_MIN, _SECONDS_MAX = -62135596800, 253402300799


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, which, why, and what would be right; `spans` tells a rule over several fields."""

    field: str
    rule: str
    detail: str
    next_step: str
    spans: bool = False

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
_NEWER = frozenset({"enum.defined_only", "currency.in_list", *(f"standard.{name}" for name in standards.GROWING)})


def check_received(message: Message) -> None:
    """Accept a message that may be used: as `check`, but a newer sender's values and currencies pass outside the marks.

    An unknown value in Handling is refused, because nobody can honour a mark they do not know.

    Raises:
        RefusedError: `RULE_BROKEN`, as `check`.
    """
    found = violations(message)
    newer = {one.field for one in found if one.rule in _NEWER and not _is_mark(one)}
    beside = {field.rpartition(".")[0] for field in newer}
    for violation in found:
        if violation.field in newer:
            continue
        # A rule that looks at several fields cannot judge a value that came after it.
        if violation.spans and violation.field.rpartition(".")[0] in beside and not _is_mark(violation):
            continue
        raise violation.as_error()


def _is_mark(violation: Violation) -> bool:
    return violation.field.partition(".")[0] == "handling"


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
    spans = raw.rule is None or not raw.rule.elements
    if spans:
        path += "." + raw.rule_id.rpartition(".")[0]
    path = path.strip(".")
    descriptor = _field_at(message.DESCRIPTOR, path)
    return Violation(path, raw.rule_id, raw.message, _next_step(path, descriptor), spans)


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


class _Plan(NamedTuple):
    """What to look at in records of one type: computed once, so that a set of thousands is walked quickly."""

    test: checks.Test | None
    has_id: bool
    is_person: bool
    is_account: bool
    refs: tuple[Any, ...]
    values: tuple[tuple[Any, str], ...]
    children: tuple[tuple[Any, _Plan], ...]

    @property
    def is_empty(self) -> bool:
        return not (self.test or self.has_id or self.is_person or self.refs or self.values or self.children)


@functools.cache
def _plan(descriptor: Any) -> _Plan:
    # No catalogue type contains itself (a test proves it), so this ends.
    fields = descriptor.fields
    local_ref = _options().local_ref
    nested = [(field, _plan(field.message_type)) for field in fields if field.message_type]
    return _Plan(
        test=checks.TESTS.get(descriptor.full_name),
        has_id="local_id" in descriptor.fields_by_name,
        is_person=descriptor.full_name == f"{PACKAGE}.Person",
        is_account=descriptor.full_name == f"{PACKAGE}.FinancialAccount",
        refs=tuple(field for field in fields if field.GetOptions().Extensions[local_ref]),
        values=tuple((f, f.GetOptions().Extensions[_options().standard]) for f in fields if _standard(f)),
        children=tuple((field, plan) for field, plan in nested if not plan.is_empty),
    )


def _standard(field: Any) -> bool:
    return field.GetOptions().Extensions[_options().standard] in standards.TESTS


def _off_standard(record: Any, plan: _Plan, path: str) -> Iterator[Violation]:
    """Give every value that is not of the list or notation that its field names."""
    for field, name in plan.values:
        holds, detail = standards.TESTS[name]
        value = getattr(record, field.name)
        for index, one in enumerate(value if field.is_repeated else (value,)):
            if one and not holds(one):
                where = f"{path}{field.name}[{index}]" if field.is_repeated else f"{path}{field.name}"
                yield Violation(where, f"standard.{name}", detail, _next_step(where, field))


def _walk(record: Any, plan: _Plan, path: str, found: list[tuple[str, Any, _Plan]]) -> None:
    """Collect every record that something is to be checked in, with its path."""
    found.append((path, record, plan))
    for field, below in plan.children:
        if field.is_repeated:
            for index, child in enumerate(getattr(record, field.name)):
                _walk(child, below, f"{path}{field.name}[{index}].", found)
        elif record.HasField(field.name):
            _walk(getattr(record, field.name), below, f"{path}{field.name}.", found)


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
    victims: set[str] = set()
    held: list[tuple[str, str]] = []
    records: list[tuple[str, Any, _Plan]] = []
    _walk(message, _plan(message.DESCRIPTOR), "", records)
    for path, record, plan in records:
        if plan.test:
            for name, rule, detail in plan.test(record):
                yield Violation(path + name, rule, detail, _next_step(path + name, _field_at(record.DESCRIPTOR, name)))
        if plan.values:
            yield from _off_standard(record, plan, path)
        if plan.has_id and record.local_id:
            if record.local_id in ids:
                detail = "another record of this message has the same local_id"
                step = f"Give {path}local_id a value of its own."
                yield Violation(f"{path}local_id", "local_id.unique", detail, step)
            ids.add(record.local_id)
        if plan.is_person and record.role in _VICTIM_ROLES and message.DESCRIPTOR.full_name != _IDENTITY_TYPE:
            yield from _named_victim(record, path)
            victims.add(record.local_id)
        if plan.is_account and record.holder_name:
            held.append((path, record.holder_ref))
        minor = minor or (plan.is_person and record.is_minor != _MINOR_NO)
        for field in plan.refs:
            value = getattr(record, field.name)
            if field.is_repeated:
                refs.extend((f"{path}{field.name}[{index}]", one) for index, one in enumerate(value))
            elif value:
                refs.append((f"{path}{field.name}", value))
    for path, holder in held:
        if holder in victims:
            step = f"Clear {path}holder_name; {path}holder_ref names the victim by pseudonym."
            yield Violation(f"{path}holder_name", "holder_name.victim", "a victim travels by pseudonym", step)
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
