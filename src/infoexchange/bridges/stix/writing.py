"""Writing: a message as a STIX 2.1 bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from infoexchange.bridges.stix import reports, words
from infoexchange.bridges.stix.bundle import time_text
from infoexchange.bridges.stix.reports import NUMBERS
from infoexchange.catalogue import (
    ContextKind,
    FalsePositiveRisk,
    IndicatorSet,
    IndicatorType,
    PatternType,
    Tlp,
    labels,
    marks,
)
from infoexchange.errors import Reason, error

# For what must lie before another time that leaves no room; a reader of our references leaves it out again.
_LONG_AGO = "1970-01-01T00:00:00Z"


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a bundle with one message and its marks.

    Args:
        messages: One IndicatorSet, CyberIncidentReport, FraudAlert or PersonNotice that keeps the rules of the
            catalogue.
        now: The date of objects that have none.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried; `RULE_BROKEN` for anything but one such message, and
            for a victim that is named.
    """
    found = list(messages)
    schema = type(found[0]).__name__ if len(found) == 1 else ""
    if schema not in NUMBERS:
        step = "Export the messages one by one, each to a file of its own, or choose another format."
        detail = f"a bundle holds exactly one {', '.join(NUMBERS)}"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
    message = found[0]
    number = getattr(message, NUMBERS[schema])
    # Messages of different types may have the same number, and must not get the same ids.
    seed = number if isinstance(message, IndicatorSet) else f"{schema} {number}"
    writer = Writer(message, seed, labels.to_labels(message.handling, allow_red=allow_red), now)
    bundle = {
        "type": "bundle",
        "id": _own_id("bundle", number) or words.derived_id("bundle", seed),
        "objects": writer.objects() if isinstance(message, IndicatorSet) else reports.objects_of(writer),
    }
    return json.dumps(bundle, ensure_ascii=False, indent=2).encode()


def _own_id(kind: str, local_id: str) -> str:
    """Return a local id that already is a STIX id of this kind, or nothing."""
    return local_id if local_id.startswith(f"{kind}--") and words.STIX_ID.fullmatch(local_id) else ""


class Writer:
    """One bundle in the making: ids of records, marks in use."""

    def __init__(self, message: Any, seed: str, texts: list[str], now: datetime) -> None:
        self.message = message
        self.seed = seed
        self.now = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.ids: dict[str, str] = {}
        self.used: dict[str, dict[str, Any]] = {}
        # Every object carries every statement: whoever takes one object out of the bundle takes its marks along.
        self.statements = [self.statement(text) for text in texts[1:]]

    def objects(self) -> list[dict[str, Any]]:
        """Return the objects: marks first, so that a reader has them before what they mark."""
        records = [self.indicator(record) for record in self.message.indicators]
        records += [self.context(record) for record in self.message.contexts]
        links = [self.relationship(record) for record in self.message.relationships]
        links += [self.sighting(record) for record in self.message.sightings]
        grouping = self.grouping([found["id"] for found in (*records, *links)])
        return [*self.used.values(), grouping, *records, *links]

    def statement(self, text: str) -> str:
        """Define a marking with a statement and return its id."""
        identifier = words.derived_id("marking-definition", text)
        self.used[identifier] = {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": identifier,
            "created": words.MARKING_CREATED,
            "definition_type": "statement",
            "definition": {"statement": text},
        }
        return identifier

    def tlp(self, number: int) -> str:
        """Define the marking of a TLP 2.0 label and return its id."""
        label = marks.TLP_LABELS[Tlp.ValueType(number)]
        identifier = words.TLP_IDS[label]
        value = {"extension_type": "property-extension", "tlp_2_0": label.removeprefix("TLP:").lower()}
        self.used[identifier] = {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": identifier,
            "created": words.MARKING_CREATED,
            "name": label,
            "extensions": {words.EXTENSION: value},
        }
        return identifier

    def start(self, kind: str, record: Any, filled: list[str], tlp: int = 0) -> dict[str, Any]:
        """Return what all objects of a bundle begin with."""
        identifier = _own_id(kind, record.local_id)
        identifier = identifier or words.derived_id(kind, self.seed, record.local_id)
        self.ids[record.local_id] = identifier
        created, modified = time_text(record, "created_at"), time_text(record, "modified_at")
        if not created:
            filled.append("created_at")
        if not modified:
            filled.append("modified_at")
        created = created or modified or self.now
        return {
            "type": kind,
            "spec_version": "2.1",
            "id": identifier,
            "created": created,
            "modified": modified or created,
            "object_marking_refs": [self.tlp(tlp or self.message.handling.tlp), *self.statements],
        }

    def finish(self, found: dict[str, Any], local_id: str, extras: dict[str, Any]) -> dict[str, Any]:
        """Add a reference to ourselves with what STIX has no property for, and leave out what is empty."""
        reference = {"source_name": words.SOURCE}
        if local_id and local_id != found["id"]:
            reference["external_id"] = local_id
        extras = {name: value for name, value in extras.items() if value not in ("", [], None, 0)}
        if extras:
            reference["description"] = json.dumps(extras, sort_keys=True)
        if len(reference) > 1:
            found["external_references"] = [reference]
        return {name: value for name, value in found.items() if value not in ("", [], None)}

    def grouping(self, references: list[str]) -> dict[str, Any]:
        """Return the object that says what the set is."""
        risk = self.message.false_positive_risk
        found = self.plain("grouping", "") | {
            "name": self.message.subject,
            "description": self.message.summary,
            "context": "unspecified",
            "object_refs": references,
        }
        extras = {"false_positive_risk": FalsePositiveRisk.Name(risk) if risk else ""}
        return self.finish(found, self.message.set_id, extras)

    def plain(self, kind: str, name: str) -> dict[str, Any]:
        """Return what an object begins with that is no record of the message."""
        return {
            "type": kind,
            "spec_version": "2.1",
            "id": words.derived_id(kind, self.seed, *([name] if name else [])),
            "created": self.now,
            "modified": self.now,
            "object_marking_refs": [self.tlp(self.message.handling.tlp), *self.statements],
        }

    def indicator(self, record: Any) -> dict[str, Any]:
        """Return one indicator."""
        filled: list[str] = []
        found = self.start("indicator", record, filled, record.tlp)
        simple = words.simple_pattern(record.type, record.value, record.port)
        pattern = record.pattern or simple
        kind = PatternType.Name(record.pattern_type).removeprefix("PATTERN_TYPE_").lower()
        if record.pattern_type in {PatternType.PATTERN_TYPE_UNSPECIFIED, PatternType.PATTERN_TYPE_STIX}:
            kind = "stix"
        elif record.pattern_type == PatternType.PATTERN_TYPE_OTHER:
            kind = record.pattern_type_text
        valid_from, valid_until = time_text(record, "valid_from"), time_text(record, "valid_until")
        if not valid_from:
            filled.append("valid_from")
            valid_from = found["created"]
            # STIX wants the end after the beginning; the same form of both makes the texts comparable.
            if valid_until and valid_from[:19] >= valid_until[:19]:
                valid_from = _LONG_AGO
        found |= {
            "name": record.name,
            "description": record.description,
            "indicator_types": list(record.indicator_types),
            "pattern": pattern,
            "pattern_type": kind,
            "pattern_version": record.pattern_version,
            "valid_from": valid_from,
            "valid_until": valid_until,
            "confidence": record.confidence if record.HasField("confidence") else None,
        }
        extras: dict[str, Any] = {
            "filled": filled,
            "first_seen": time_text(record, "first_seen"),
            "last_seen": time_text(record, "last_seen"),
        }
        said = words.from_pattern(pattern) if kind == "stix" else (IndicatorType.INDICATOR_TYPE_PATTERN, "", 0)
        if said != (record.type, record.value, record.port) or bool(record.pattern) == (pattern == simple):
            name = IndicatorType.Name(record.type)
            extras |= {
                "type": name,
                "value": record.value,
                "port": record.port,
                "pattern": "stated" if record.pattern else "none",
            }
        extras["type_text"] = record.type_text
        return self.finish(found, record.local_id, extras)

    def context(self, record: Any) -> dict[str, Any]:
        """Return what indicators point to."""
        filled: list[str] = []
        kind = words.TYPE_OF_CONTEXT.get(record.kind, "attack-pattern")
        found = self.start(kind, record, filled, record.tlp)
        found |= {"name": record.name, "description": record.description}
        types, extras = list(record.types), {"filled": filled, "kind_text": record.kind_text}
        if kind in words.WITH_KINDS:
            found[f"{kind}_types"] = types
        else:
            extras["types"] = types
        family = record.is_family if record.HasField("is_family") else None
        if kind == "malware":
            # STIX demands an answer; "no" is the one that claims less.
            found["is_family"] = bool(family)
            if family is None:
                filled.append("is_family")
        elif family is not None:
            extras["is_family"] = "yes" if family else "no"
        if words.CONTEXT_TYPES[kind] != record.kind:
            extras["kind"] = ContextKind.Name(record.kind)
        return self.finish(found, record.local_id, extras)

    def relationship(self, record: Any) -> dict[str, Any]:
        """Return one link between two records."""
        filled: list[str] = []
        found = self.start("relationship", record, filled)
        found |= {
            "relationship_type": record.type,
            "source_ref": self.target(record.from_ref, "relationships.from_ref"),
            "target_ref": self.target(record.to_ref, "relationships.to_ref"),
            "start_time": time_text(record, "start_at"),
            "stop_time": time_text(record, "end_at"),
            "confidence": record.confidence if record.HasField("confidence") else None,
        }
        return self.finish(found, record.local_id, {"filled": filled})

    def sighting(self, record: Any) -> dict[str, Any]:
        """Return one sighting."""
        filled: list[str] = []
        found = self.start("sighting", record, filled)
        found |= {
            "sighting_of_ref": self.target(record.of_ref, "sightings.of_ref"),
            "first_seen": time_text(record, "first_seen"),
            "last_seen": time_text(record, "last_seen"),
            "count": record.count if record.HasField("count") else None,
            "confidence": record.confidence if record.HasField("confidence") else None,
        }
        return self.finish(found, record.local_id, {"filled": filled})

    def target(self, local_id: str, field: str) -> str:
        """Return the STIX id of a record that was written before, and is no link itself: STIX knows no link to one."""
        identifier = self.ids.get(local_id, "")
        if not identifier or identifier.startswith(("relationship--", "sighting--")):
            detail = "it names a link" if identifier else "no record of this message has this local_id"
            raise error(Reason.RULE_BROKEN, field=field, detail=detail)
        return identifier
