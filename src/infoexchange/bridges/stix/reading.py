"""Reading: a STIX 2.1 bundle as an IndicatorSet, with notes on what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NoReturn

from infoexchange.bridges import Reading
from infoexchange.bridges.stix import words
from infoexchange.catalogue import (
    ContextKind,
    FalsePositiveRisk,
    Handling,
    IndicatorSet,
    IndicatorType,
    PatternType,
    labels,
)
from infoexchange.errors import Reason, error

# A bundle this large holds more records than a message may; it is refused before it fills the memory.
_SIZE_MAX = 64 * 1024 * 1024
_COUNT_MAX = 4_294_967_295  # what a count in the message can hold


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the one IndicatorSet of a bundle, and notes on what was left out.

    Args:
        data: The bundle, JSON in UTF-8.
        handling: The marks of the message. What is unset is filled from the bundle; what is weaker is refused.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` for anything but a bundle, `BAD_FIELD` with the path of a value that cannot be
            read, `UNKNOWN_VERSION` for STIX of another version, `TOO_LARGE` beyond 64 MiB.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the bundle.
    """
    objects, bundle_id = _objects(data)
    reader = _Reader(objects, handling)
    reading = Reading(lambda _: iter([message]))
    message = reader.message(bundle_id, reading)
    return reading


def _bad(path: str, detail: str) -> NoReturn:
    raise error(Reason.BAD_FIELD, field=path, detail=detail)


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    # Two readers could choose different ones of two equal names, and see different marks.
    if len(found) != len(pairs):
        raise error(Reason.MALFORMED, detail="an object of the bundle has the same name twice")
    return found


def _objects(data: bytes) -> tuple[list[dict[str, Any]], str]:
    """Return the objects of a bundle and its id."""
    if len(data) > _SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {_SIZE_MAX}")
    try:
        bundle = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as broken:
        detail = f"not JSON: column {broken.colno}"
        raise error(Reason.MALFORMED, field=f"line {broken.lineno}", detail=detail) from None
    except (RecursionError, ValueError):
        raise error(Reason.MALFORMED, detail="not UTF-8, nested too deeply, or not JSON") from None
    if not isinstance(bundle, dict) or bundle.get("type") != "bundle":
        raise error(Reason.MALFORMED, field="type", detail="this is no STIX bundle")
    if "spec_version" in bundle:
        raise error(
            Reason.UNKNOWN_VERSION,
            field="spec_version",
            detail="the bundle is STIX 2.0 or older; only 2.1 is read",
            next_step="Convert the bundle to STIX 2.1 and import it again.",
        )
    objects = bundle.get("objects", [])
    if not isinstance(objects, list) or not all(isinstance(found, dict) for found in objects):
        _bad("objects", "objects must be a list of objects")
    for index, found in enumerate(objects):
        path = f"objects[{index}]"
        kind, identifier = _text(found, "type", path), _text(found, "id", path)
        if not words.STIX_ID.fullmatch(identifier) or not identifier.startswith(f"{kind}--"):
            _bad(f"{path}.id", "an id is the type, two dashes and a UUID")
        if found.get("spec_version", "2.1") != "2.1" or ("created" in found and "spec_version" not in found):
            detail = "only objects of STIX 2.1 are read"
            raise error(Reason.UNKNOWN_VERSION, field=f"{path}.spec_version", detail=detail)
    return objects, _text(bundle, "id", "") or "bundle"


def _text(found: dict[str, Any], name: str, path: str) -> str:
    """Return a text of an object, nothing where there is none."""
    value = found.get(name, "")
    if not isinstance(value, str):
        _bad(f"{path}.{name}", "text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        _bad(f"{path}.{name}", "half of a surrogate pair is no text")
    return value


def _texts(found: dict[str, Any], name: str, path: str) -> list[str]:
    """Return a list of texts of an object."""
    value = found.get(name, [])
    if not isinstance(value, list):
        _bad(f"{path}.{name}", "a list is needed")
    return [_text({name: one}, name, path) for one in value]


def _set_time(record: Any, field: str, found: dict[str, Any], name: str, path: str) -> None:
    """Set a time of a record from a property, if it is there."""
    text = _text(found, name, path)
    if not text:
        return
    try:
        getattr(record, field).FromJsonString(words.FRACTION.sub(r"\1", text))
    except (ValueError, OverflowError):
        _bad(f"{path}.{name}", "a time such as 2026-01-31T08:00:00Z is needed")


def _set_number(record: Any, field: str, found: dict[str, Any], path: str) -> None:
    """Set a whole number of a record from the property of the same name, if it is there."""
    value = found.get(field)
    if value is None:
        return
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        _bad(f"{path}.{field}", "a whole number is needed")
    setattr(record, field, value)


class _Reader:
    """One bundle being read: its marks, and the records kept so far."""

    def __init__(self, objects: list[dict[str, Any]], handling: Handling) -> None:
        self.objects = objects
        self.kept: dict[str, str] = {}
        self.definitions = dict(words.LABEL_OF_ID)
        self.statements: set[str] = set()
        self.define()
        tlps = {words.TLP_OF_LABEL[mark] for found in self.labels_of_objects() for mark in found if _is_tlp(mark)}
        # A record is marked by itself only where it is less strict than the strictest of its bundle.
        self.strictest = max(tlps, default=0)
        flat = [mark for found in self.labels_of_objects() for mark in found]
        self.handling = labels.with_labels(handling, flat)

    def define(self) -> None:
        """Learn the marking-definitions of the bundle."""
        for index, found in enumerate(self.objects):
            if found["type"] != "marking-definition" or found["id"] in words.LABEL_OF_ID:
                continue
            statement = words.statement_text(found)
            extension = found.get("extensions")
            value = extension.get(words.EXTENSION) if isinstance(extension, dict) else None
            label = f"TLP:{value.get('tlp_2_0')}".upper() if isinstance(value, dict) else statement
            if label is None or (isinstance(value, dict) and label not in words.TLP_OF_LABEL):
                self.lost(f"objects[{index}]", "a marking is of a kind that is not understood")
            self.definitions[found["id"]] = label

    def lost(self, path: str, detail: str) -> NoReturn:
        """Refuse a bundle whose marks cannot be honoured."""
        step = "Ask the bundle's author for TLP or statement markings."
        raise error(Reason.MARK_LOST, field=path, detail=detail, next_step=step)

    def labels_of_objects(self) -> Iterator[list[str]]:
        """Give the labels of every object that says something."""
        for index, found in enumerate(self.objects):
            yield self.labels_of(found, f"objects[{index}]")

    def labels_of(self, found: dict[str, Any], path: str) -> list[str]:
        """Return the labels of an object, those of its parts among them."""
        references = _texts(found, "object_marking_refs", path)
        granular = found.get("granular_markings", [])
        if not isinstance(granular, list) or not all(isinstance(one, dict) for one in granular):
            _bad(f"{path}.granular_markings", "a list of objects is needed")
        # A marking of a language is no mark on its handling.
        references += [_text(one, "marking_ref", path) for one in granular if "lang" not in one]
        unknown = [reference for reference in references if reference not in self.definitions]
        if unknown:
            self.lost(f"{path}.object_marking_refs", "a marking is not defined in the bundle")
        return [self.definitions[reference] for reference in references]

    def message(self, bundle_id: str, reading: Reading) -> Any:
        """Return the message, and note what is left out."""
        message = IndicatorSet(handling=self.handling, set_id=bundle_id)
        links: list[tuple[int, dict[str, Any]]] = []
        described = False
        for index, found in enumerate(self.objects):
            kind, path = found["type"], f"objects[{index}]"
            if found.get("revoked") is True:
                reading.note(path, "revoked", "the object was revoked: left out")
            elif kind == "indicator":
                self.indicator(message, found, path, reading)
            elif kind in words.CONTEXT_TYPES:
                self.context(message, found, path, reading)
            elif kind in {"relationship", "sighting"}:
                links.append((index, found))
            elif kind in {"grouping", "report"} and not described:
                described = True
                self.describe(message, found, path, reading)
            elif kind not in {"marking-definition", "extension-definition"}:
                reading.note(path, "type", f"objects of type {kind[:60]} are not carried")
        for index, found in links:
            self.link(message, found, f"objects[{index}]", reading)
        message.subject = message.subject or f"STIX bundle with {len(message.indicators)} indicators"
        return message

    def start(self, record: Any, found: dict[str, Any], path: str) -> dict[str, Any]:
        """Set what all records have; return what our own reference says."""
        local_id, extras = _own_reference(found, path)
        record.local_id = local_id or found["id"]
        self.kept[found["id"]] = record.local_id
        filled = extras.get("filled", [])
        for field, name in (("created_at", "created"), ("modified_at", "modified")):
            if field not in filled:
                _set_time(record, field, found, name, path)
        if "tlp" in record.DESCRIPTOR.fields_by_name:
            own = [words.TLP_OF_LABEL[mark] for mark in self.labels_of(found, path) if _is_tlp(mark)]
            if own and max(own) < self.strictest:
                record.tlp = max(own)
        return extras

    def indicator(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add one indicator."""
        record = message.indicators.add()
        extras = self.start(record, found, path)
        pattern, kind = _text(found, "pattern", path), _text(found, "pattern_type", path)
        if not pattern or not kind:
            _bad(f"{path}.pattern", "an indicator has a pattern and a pattern_type")
        record.type, record.value = IndicatorType.INDICATOR_TYPE_PATTERN, ""
        record.pattern, record.pattern_type = pattern, words.PATTERN_TYPES.get(kind, PatternType.PATTERN_TYPE_OTHER)
        if record.pattern_type == PatternType.PATTERN_TYPE_OTHER:
            record.pattern_type_text = kind
        port = 0
        if kind == "stix":
            record.type, record.value, port = words.from_pattern(pattern)
        if "type" in extras:
            record.type = _enum(IndicatorType, extras["type"], path)
            record.value = _text(extras, "value", path)
            port = extras.get("port", 0) if type(extras.get("port")) is int else 0
        if 0 < port <= 0xFFFF:
            record.port = port
        record.type_text = _text(extras, "type_text", path)
        # A pattern that only repeats type and value is left out: it is written again from them.
        simple = kind == "stix" and pattern == words.simple_pattern(record.type, record.value, port)
        if extras.get("pattern", "none" if simple else "stated") == "none":
            record.ClearField("pattern")
            record.ClearField("pattern_type")
        record.name, record.description = _text(found, "name", path), _text(found, "description", path)
        record.pattern_version = _text(found, "pattern_version", path)
        record.indicator_types.extend(_texts(found, "indicator_types", path))
        _set_number(record, "confidence", found, path)
        if "valid_from" not in extras.get("filled", []):
            _set_time(record, "valid_from", found, "valid_from", path)
        _set_time(record, "valid_until", found, "valid_until", path)
        _set_time(record, "first_seen", extras, "first_seen", path)
        _set_time(record, "last_seen", extras, "last_seen", path)
        read_here = {"pattern", "pattern_type", "pattern_version", "indicator_types", "valid_from", "valid_until"}
        _note_rest(found, read_here, path, reading)

    def context(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add what indicators point to."""
        kind = found["type"]
        record = message.contexts.add()
        extras = self.start(record, found, path)
        record.kind = _enum(ContextKind, extras["kind"], path) if "kind" in extras else words.CONTEXT_TYPES[kind]
        record.kind_text = _text(extras, "kind_text", path)
        record.name = _text(found, "name", path) or "unnamed"
        record.description = _text(found, "description", path)
        source, name = (found, f"{kind}_types") if kind in words.WITH_KINDS else (extras, "types")
        record.types.extend(_texts(source, name, path))
        family = found.get("is_family")
        if kind != "malware":
            family = {"yes": True, "no": False}.get(_text(extras, "is_family", path))
        if isinstance(family, bool) and "is_family" not in extras.get("filled", []):
            record.is_family = family
        _note_rest(found, {f"{kind}_types", "is_family"}, path, reading)

    def link(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add a relationship or a sighting, if what it points to was kept."""
        names = ("sighting_of_ref",) if found["type"] == "sighting" else ("source_ref", "target_ref")
        targets = [self.kept.get(_text(found, name, path)) for name in names]
        if None in targets:
            reading.note(path, "type", f"{found['type']} with an object that is not carried: left out")
            return
        if found["type"] == "sighting":
            record = message.sightings.add(of_ref=targets[0])
            times = (("first_seen", "first_seen"), ("last_seen", "last_seen"))
            _set_number(record, "count", found, path)
        else:
            record = message.relationships.add(from_ref=targets[0], to_ref=targets[1])
            record.type = _text(found, "relationship_type", path)
            times = (("start_at", "start_time"), ("end_at", "stop_time"))
        self.start(record, found, path)
        for field, name in times:
            _set_time(record, field, found, name, path)
        _set_number(record, "confidence", found, path)
        read_here = {*names, *(name for _, name in times), "count", "relationship_type"}
        _note_rest(found, read_here, path, reading)

    def describe(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Set what the set is about."""
        local_id, extras = _own_reference(found, path)
        message.subject, message.summary = _text(found, "name", path), _text(found, "description", path)
        message.set_id = local_id or message.set_id
        if "false_positive_risk" in extras:
            message.false_positive_risk = _enum(FalsePositiveRisk, extras["false_positive_risk"], path)
        _note_rest(found, {"object_refs", "context", "published"}, path, reading)


def _is_tlp(label: str) -> bool:
    return label in words.TLP_OF_LABEL


def _enum(enum: Any, name: Any, path: str) -> int:
    """Return the number of a name that one of our references gives."""
    if not isinstance(name, str) or name not in enum.DESCRIPTOR.values_by_name:
        _bad(f"{path}.external_references", "our reference names a value that is not known to this version")
    return int(enum.Value(name))


def _own_reference(found: dict[str, Any], path: str) -> tuple[str, dict[str, Any]]:
    """Return the local id and the additions that our own writer put into an external reference."""
    for reference in _references(found):
        if reference.get("source_name") != words.SOURCE:
            continue
        try:
            extras = json.loads(_text(reference, "description", path) or "{}", object_pairs_hook=_once)
        except (RecursionError, ValueError):
            extras = None
        if not isinstance(extras, dict) or not isinstance(extras.get("filled", []), list):
            _bad(f"{path}.external_references", "our reference is damaged")
        return _text(reference, "external_id", path), extras
    return "", {}


def _references(found: dict[str, Any]) -> list[dict[str, Any]]:
    value = found.get("external_references", [])
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _note_rest(found: dict[str, Any], read_here: Iterable[str], path: str, reading: Reading) -> None:
    """Note the properties of a kept object that no field holds."""
    for name in sorted(found.keys() - words.ALWAYS_READ - set(read_here)):
        reading.note(path, name[:60], "property not carried")
    if any(reference.get("source_name") != words.SOURCE for reference in _references(found)):
        reading.note(path, "external_references", "property not carried")
