"""Labels: handling marks as short texts, for formats that have no marks of ours.

`PAP:AMBER` or `RESTRICTION:NO_ONWARD` can stand in a STIX marking or in a column of a table and be read back. What a
label cannot carry is refused with MARK_LOST: a message may lose detail on its way into another format, never a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infoexchange.catalogue.marks import TLP_LABELS, most_restrictive
from infoexchange.catalogue.v1 import common_pb2, handling_pb2
from infoexchange.errors import ExchangeError, Reason, error

Handling = handling_pb2.Handling

_TLP_BY_LABEL = {label: number for number, label in TLP_LABELS.items()}
# TLP 1 called the lowest mark WHITE; what people write where a plus is awkward means the strict one.
_TLP_BY_LABEL["TLP:WHITE"] = common_pb2.TLP_CLEAR
_TLP_BY_LABEL |= dict.fromkeys((f"TLP:AMBER{sign}STRICT" for sign in "_- "), common_pb2.TLP_AMBER_STRICT)
# Conditions of MISP that say nothing on how far a message goes: kept in words.
_TLP_CONDITIONS = frozenset({"TLP:EX:CHR", "TLP:UNCLEAR"})

# Marks that are one enum each, beside PAP: the word before the colon and the field. Two different values contradict one
# another.
_ENUMS: tuple[tuple[str, str, Any], ...] = (
    ("OP_STATUS", "op_status", handling_pb2.OpStatus),
    ("ONWARD_TRANSFER", "onward_transfer", handling_pb2.OnwardTransfer),
    ("PERMITTED_ACTIONS", "permitted_actions", handling_pb2.PermittedActions),
    ("ATTRIBUTION", "attribution", handling_pb2.Attribution),
)
_OTHER = "RESTRICTION:OTHER:"
_WORDS = frozenset({"RESTRICTION", "RETENTION_UNTIL", *(word for word, _, _ in _ENUMS)})
# Separates labels in one cell of a table.
SEPARATOR = " | "
# A message may have twenty restrictions; more labels than this are no marks, and comparing them would take hours.
LABELS_MAX = 1000
# The column of a table that holds the labels of a row.
COLUMN = "marks"


def _lost(field: str, detail: str, next_step: str = "") -> ExchangeError:
    return error(Reason.MARK_LOST, field=field, detail=detail, next_step=next_step)


def to_labels(marks: Handling, *, allow_red: bool = False) -> list[str]:
    """Return the marks that must survive in another format, the TLP label first.

    Args:
        marks: The marks of the message.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark has no label; `RULE_BROKEN` where there is no TLP mark.
    """
    if most_restrictive([marks.tlp]) == common_pb2.TLP_RED and not allow_red:
        raise _lost(
            "handling.tlp",
            "TLP:RED stays with the named recipients",
            "Export again with allow_red, as a command with --allow-red, if you may.",
        )
    if marks.HasField("national_classification"):
        raise _lost("handling.national_classification", "a national marking cannot be carried by another format")
    if list(marks.releasable_to) not in ([], ["ALL_PARTIES"]):
        raise _lost("handling.releasable_to", "a list of recipients cannot be carried by another format")
    found = [TLP_LABELS[marks.tlp]]
    for word, field, enum in (("PAP", "pap", common_pb2.Pap), *_ENUMS):
        number = getattr(marks, field)
        if number:
            found.append(f"{word}:{_word(enum, number, field)}")
    for restriction in marks.restrictions:
        if restriction.text:
            found.append(f"{_OTHER}{restriction.text}")
        if restriction.kind != handling_pb2.RESTRICTION_KIND_OTHER:
            found.append(f"RESTRICTION:{_word(handling_pb2.RestrictionKind, restriction.kind, 'restrictions')}")
    if marks.HasField("retention_until"):
        found.append(f"RETENTION_UNTIL:{marks.retention_until.ToJsonString()}")
    return found


def _word(enum: Any, number: int, field: str) -> str:
    """Return the name of an enum value without its prefix."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    if known is None or not number:
        raise _lost(f"handling.{field}", "the value is not known to this version")
    prefix = enum.DESCRIPTOR.values[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix))


def with_labels(marks: Handling, labels: Iterable[str]) -> Handling:
    """Return the marks together with those that came in labels; what the caller left unset is filled in.

    A text that is no label of ours becomes a restriction OTHER with that text, so that nobody's condition is dropped.
    How a label is spelt, in capitals or not, makes no difference.

    Raises:
        RefusedError: `MARK_LOST` where the caller's marks are weaker than the labels or contradict them, and for a TLP
            mark that nobody knows: as a remark it would bind nobody.
    """
    result = Handling()
    result.CopyFrom(marks)
    labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if len(labels) > LABELS_MAX:
        raise _lost("handling.restrictions", f"{len(labels)} different marks, at most {LABELS_MAX}")
    left = [label for label in labels if not _is_ordered(label)]
    for field, said in (("tlp", _tlp_of), ("pap", _pap_of)):
        numbers = [number for number in map(said, labels) if number]
        if numbers:
            _raise_to(result, field, max(numbers))
    ends = [end for end in map(_retention_of, labels) if end is not None]
    if ends:
        _end_by(result, min(ends, key=lambda end: end.ToNanoseconds()))
    kinds = {int(restriction.kind) for restriction in result.restrictions}
    texts = {restriction.text for restriction in result.restrictions}
    for label in left:
        if not _apply(result, label):
            _restrict(result, label, kinds, texts)
    return result


def is_label(text: str) -> bool:
    """Tell whether a text among others, such as keywords, says a mark; a misspelt TLP or PAP mark does too."""
    word, colon, value = text.strip().partition(":")
    word = word.strip().upper()
    return bool(colon) and (word in {"TLP", "PAP"} or (word in _WORDS and value.strip() == value != ""))


def _tlp_of(label: str) -> int:
    """Return the number of a TLP label, 0 for any other label.

    Raises:
        RefusedError: `MARK_LOST` for a TLP mark that nobody knows.
    """
    said = label.upper()
    if said.startswith("TLP:") and said not in _TLP_BY_LABEL and said not in _TLP_CONDITIONS:
        raise _lost("handling.tlp", "the source is marked with what is no TLP mark")
    return _TLP_BY_LABEL.get(said, 0)


def _pap_of(label: str) -> int:
    """Return the number of a PAP label, 0 for any other label."""
    word, _, value = label.upper().partition(":")
    known = common_pb2.Pap.DESCRIPTOR.values_by_name.get(f"PAP_{value}")
    return known.number if word == "PAP" and known is not None else 0


def _retention_of(label: str) -> Any:
    """Return the end of retention that a label says, or None."""
    word, _, value = label.upper().partition(":")
    stated = Handling().retention_until
    try:
        if word == "RETENTION_UNTIL":
            stated.FromJsonString(value)
            return stated
    except (ValueError, OverflowError):
        pass  # kept in words, as a restriction
    return None


def _is_ordered(label: str) -> bool:
    """Tell whether a label is one of those of which the strictest counts."""
    return bool(_tlp_of(label) or _pap_of(label) or _retention_of(label))


def _raise_to(result: Any, field: str, number: int) -> None:
    """Fill in an ordered mark, or refuse a weaker one."""
    if 0 < getattr(result, field) < number:
        label = TLP_LABELS[number] if field == "tlp" else f"PAP:{_word(common_pb2.Pap, number, field)}"
        step = f"Set handling.{field} to {label} or stricter."
        raise _lost(f"handling.{field}", f"the source is marked {label}", step)
    setattr(result, field, getattr(result, field) or number)


def _end_by(result: Any, stated: Any) -> None:
    """Take the end of retention into the marks: the earlier one holds, and a later one of the caller is refused."""
    if not result.HasField("retention_until"):
        result.retention_until.CopyFrom(stated)
    elif result.retention_until.ToNanoseconds() > stated.ToNanoseconds():
        step = f"Set it to {stated.ToJsonString()} or before."
        raise _lost("handling.retention_until", "the source must be deleted earlier", step)


def _apply(result: Handling, label: str) -> bool:
    """Take a label of an enum into the marks; False where it is none."""
    word, _, value = label.upper().partition(":")
    for known, field, enum in _ENUMS:
        number = enum.DESCRIPTOR.values_by_name.get(f"{_prefix(enum)}{value}")
        if word != known or number is None or not number.number:
            continue
        given = getattr(result, field)
        if given in {0, number.number}:
            setattr(result, field, number.number)
        elif not (word == "ONWARD_TRANSFER" and given == handling_pb2.ONWARD_TRANSFER_CONSENT_REQUIRED):
            # Whoever asks for consent where the source does not is stricter, and no other two values have an order.
            raise _lost(f"handling.{field}", f"the source is marked {label}", f"Set handling.{field} to {value}.")
        return True
    return False


def _restrict(result: Handling, label: str, kinds: set[int], texts: set[str]) -> None:
    """Add a restriction, once: of a kind where the label is one of ours, in words where not."""
    word, _, value = label.upper().partition(":")
    kind = handling_pb2.RestrictionKind.DESCRIPTOR.values_by_name.get(f"RESTRICTION_KIND_{value}")
    if word == "RESTRICTION" and kind is not None and kind.number not in {0, handling_pb2.RESTRICTION_KIND_OTHER}:
        if kind.number not in kinds:
            kinds.add(kind.number)
            result.restrictions.add(kind=kind.number)
        return
    text = label[len(_OTHER) :] if label.upper().startswith(_OTHER) else label
    if text not in texts:
        texts.add(text)
        result.restrictions.add(kind=handling_pb2.RESTRICTION_KIND_OTHER, text=text)


def _prefix(enum: Any) -> str:
    return str(enum.DESCRIPTOR.values[0].name.removesuffix("UNSPECIFIED"))


def to_cell(marks: Handling, *, allow_red: bool = False) -> str:
    """Return the labels as one cell of a table.

    Raises:
        RefusedError: As `to_labels`, and `MARK_LOST` where the text of a restriction cannot stand in a cell.
    """
    found = to_labels(marks, allow_red=allow_red)
    if any("|" in label or "\n" in label or "\r" in label or label != label.strip() for label in found):
        raise _lost("handling.restrictions", "the text of a restriction cannot stand in a cell of a table")
    return SEPARATOR.join(found)


def with_cells(marks: Handling, row: Mapping[str, str]) -> Handling:
    """Return the marks together with those that a row says in its cells `marks`, `tlp` and `pap`.

    Raises:
        RefusedError: `MARK_LOST` as `with_labels`, and where a cell `tlp` or `pap` says what is no such mark.
    """
    labels = row.get(COLUMN, "").split(SEPARATOR)
    for word in ("TLP", "PAP"):
        said = row.get(word.lower(), "").strip().upper().removeprefix(f"{word}:").strip()
        if not said:
            continue
        said = "CLEAR" if said == "WHITE" else said
        label = f"{word}:{said.replace('_', '+').replace(' ', '+')}"
        if label not in _TLP_BY_LABEL and said not in {"CLEAR", "GREEN", "AMBER", "RED"}:
            raise _lost(f"handling.{word.lower()}", f"the source is marked with what is no {word} mark")
        labels.append(label)
    for label in labels:
        # A misspelt mark must not become a remark.
        said = label.strip().upper()
        if "TLP:" in said and said not in _TLP_BY_LABEL and not said.startswith("RESTRICTION:"):
            raise _lost("handling.tlp", "the source is marked with what is no TLP mark")
    return with_labels(marks, labels)
