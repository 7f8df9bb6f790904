"""Reading: a STIX 2.1 bundle as messages, with notes on what was left out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.stix import bundle, reports, words
from infoexchange.catalogue import (
    ContextKind,
    FalsePositiveRisk,
    Handling,
    IndicatorSet,
    IndicatorType,
    PatternType,
    strict_json,
)


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the messages of a bundle, and notes on what was left out.

    Args:
        data: The bundle, JSON in UTF-8.
        handling: The marks of the messages. What is unset is filled from the bundle; what is weaker is refused.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` for anything but a bundle, `BAD_FIELD` with the path of a value that cannot be
            read, `UNKNOWN_VERSION` for STIX of another version.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the bundle, `TOO_LARGE` beyond 64 MiB.
    """
    objects, bundle_id = bundle.objects_of(data)
    reading = Reading(lambda _: iter(messages))
    messages = Reader(objects, handling).messages(bundle_id, reading)
    return reading


class Reader:
    """One bundle being read: its marks, and the records kept so far."""

    def __init__(self, objects: list[dict[str, Any]], handling: Handling) -> None:
        self.objects = objects
        self.kept: dict[str, str] = {}
        self.marks = bundle.Marks(objects, handling)

    def messages(self, bundle_id: str, reading: Reading) -> list[Any]:
        """Return the messages, and note what is left out."""
        for index, found in enumerate(self.objects):
            path = f"objects[{index}]"
            if found["type"] == "grouping" and "schema" in bundle.own_reference(found, path)[1]:
                if found.get("revoked") is not True:
                    return [reports.read(self, index, reading)]
                reading.note(path, "revoked", "the message was revoked: left out with all that it holds")
                return []
        message = IndicatorSet(handling=self.marks.handling, set_id=bundle_id)
        incidents: list[Any] = []
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
            elif kind == "incident":
                incidents.append(reports.foreign_incident(self.marks.handling, found, path, reading))
            elif kind not in {"marking-definition", "extension-definition"}:
                reading.note(path, "type", f"objects of type {kind[:60]} are not carried")
        for index, found in links:
            self.link(message, found, f"objects[{index}]", reading)
        message.subject = message.subject or f"STIX bundle with {len(message.indicators)} indicators"
        is_empty = not (message.indicators or message.contexts or message.sightings)
        return incidents if incidents and is_empty else [*incidents, message]

    def start(self, record: Any, found: dict[str, Any], path: str) -> dict[str, Any]:
        """Set what all records have; return what our own reference says."""
        local_id, extras = bundle.own_reference(found, path)
        record.local_id = local_id or found["id"]
        self.kept[found["id"]] = record.local_id
        filled = extras.get("filled", [])
        for field, name in (("created_at", "created"), ("modified_at", "modified")):
            if field not in filled:
                bundle.set_time(record, field, found, name, path)
        if "tlp" in record.DESCRIPTOR.fields_by_name:
            record.tlp = self.marks.own_tlp(found, path)
        return extras

    def indicator(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add one indicator."""
        record = message.indicators.add()
        extras = self.start(record, found, path)
        pattern, kind = strict_json.text(found, "pattern", path), strict_json.text(found, "pattern_type", path)
        if not pattern or not kind:
            raise strict_json.bad(f"{path}.pattern", "an indicator has a pattern and a pattern_type")
        record.type, record.value = IndicatorType.INDICATOR_TYPE_PATTERN, ""
        record.pattern, record.pattern_type = pattern, words.PATTERN_TYPES.get(kind, PatternType.PATTERN_TYPE_OTHER)
        if record.pattern_type == PatternType.PATTERN_TYPE_OTHER:
            record.pattern_type_text = kind
        port = 0
        if kind == "stix":
            record.type, record.value, port = words.from_pattern(pattern)
        if "type" in extras:
            record.type = bundle.enum_of(IndicatorType, extras["type"], path)
            record.value = strict_json.text(extras, "value", path)
            port = extras.get("port", 0) if type(extras.get("port")) is int else 0
        if 0 < port <= 0xFFFF:
            record.port = port
        record.type_text = strict_json.text(extras, "type_text", path)
        # A pattern that only repeats type and value is left out: it is written again from them.
        simple = kind == "stix" and pattern == words.simple_pattern(record.type, record.value, port)
        if extras.get("pattern", "none" if simple else "stated") == "none":
            record.ClearField("pattern")
            record.ClearField("pattern_type")
        record.name, record.description = (
            strict_json.text(found, "name", path),
            strict_json.text(found, "description", path),
        )
        record.pattern_version = strict_json.text(found, "pattern_version", path)
        record.indicator_types.extend(bundle.texts(found, "indicator_types", path))
        bundle.set_number(record, "confidence", found, path)
        if "valid_from" not in extras.get("filled", []):
            bundle.set_time(record, "valid_from", found, "valid_from", path)
        bundle.set_time(record, "valid_until", found, "valid_until", path)
        bundle.set_time(record, "first_seen", extras, "first_seen", path)
        bundle.set_time(record, "last_seen", extras, "last_seen", path)
        read_here = {"pattern", "pattern_type", "pattern_version", "indicator_types", "valid_from", "valid_until"}
        bundle.note_rest(found, read_here, path, reading)

    def context(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add what indicators point to."""
        kind = found["type"]
        record = message.contexts.add()
        extras = self.start(record, found, path)
        record.kind = (
            bundle.enum_of(ContextKind, extras["kind"], path) if "kind" in extras else words.CONTEXT_TYPES[kind]
        )
        record.kind_text = strict_json.text(extras, "kind_text", path)
        record.name = strict_json.text(found, "name", path) or "unnamed"
        record.description = strict_json.text(found, "description", path)
        source, name = (found, f"{kind}_types") if kind in words.WITH_KINDS else (extras, "types")
        record.types.extend(bundle.texts(source, name, path))
        family = found.get("is_family")
        if kind != "malware":
            family = {"yes": True, "no": False}.get(strict_json.text(extras, "is_family", path))
        if isinstance(family, bool) and "is_family" not in extras.get("filled", []):
            record.is_family = family
        bundle.note_rest(found, {f"{kind}_types", "is_family"}, path, reading)

    def link(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Add a relationship or a sighting, if what it points to was kept."""
        names = ("sighting_of_ref",) if found["type"] == "sighting" else ("source_ref", "target_ref")
        targets = [self.kept.get(strict_json.text(found, name, path)) for name in names]
        if None in targets or f"{found['type']}s" not in message.DESCRIPTOR.fields_by_name:
            reading.note(path, "type", f"{found['type']} with an object that is not carried: left out")
            return
        if found["type"] == "sighting":
            record = message.sightings.add(of_ref=targets[0])
            times = (("first_seen", "first_seen"), ("last_seen", "last_seen"))
            bundle.set_number(record, "count", found, path)
        else:
            record = message.relationships.add(from_ref=targets[0], to_ref=targets[1])
            record.type = strict_json.text(found, "relationship_type", path)
            times = (("start_at", "start_time"), ("end_at", "stop_time"))
        self.start(record, found, path)
        for field, name in times:
            bundle.set_time(record, field, found, name, path)
        bundle.set_number(record, "confidence", found, path)
        read_here = {*names, *(name for _, name in times), "count", "relationship_type"}
        bundle.note_rest(found, read_here, path, reading)

    def describe(self, message: Any, found: dict[str, Any], path: str, reading: Reading) -> None:
        """Set what the set is about."""
        local_id, extras = bundle.own_reference(found, path)
        message.subject, message.summary = (
            strict_json.text(found, "name", path),
            strict_json.text(found, "description", path),
        )
        message.set_id = local_id or message.set_id
        if "false_positive_risk" in extras:
            message.false_positive_risk = bundle.enum_of(FalsePositiveRisk, extras["false_positive_risk"], path)
        bundle.note_rest(found, {"object_refs", "context", "published"}, path, reading)
