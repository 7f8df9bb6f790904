"""Writing: an IndicatorSet as a STIX 2.1 bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from infoexchange.bridges.stix import words
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
    """Return a bundle with one IndicatorSet and its marks.

    Args:
        messages: One IndicatorSet that keeps the rules of the catalogue.
        now: The date of objects that have none.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried; `RULE_BROKEN` for anything but one IndicatorSet.
    """
    found = list(messages)
    if len(found) != 1 or not isinstance(found[0], IndicatorSet):
        step = "Export the messages one by one, each to a file of its own."
        detail = "a bundle holds exactly one IndicatorSet"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
    message = found[0]
    texts = labels.to_labels(message.handling, allow_red=allow_red)
    writer = _Writer(message, texts, now)
    bundle = {
        "type": "bundle",
        "id": _own_id("bundle", message.set_id) or words.derived_id("bundle", message.set_id),
        "objects": writer.objects(),
    }
    return json.dumps(bundle, ensure_ascii=False, indent=2).encode()


def _own_id(kind: str, local_id: str) -> str:
    """Return a local id that already is a STIX id of this kind, or nothing."""
    return local_id if local_id.startswith(f"{kind}--") and words.STIX_ID.fullmatch(local_id) else ""


class _Writer:
    """One bundle in the making: ids of records, marks in use."""

    def __init__(self, message: Any, texts: list[str], now: datetime) -> None:
        self.message = message
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
        identifier = identifier or words.derived_id(kind, self.message.set_id, record.local_id)
        self.ids[record.local_id] = identifier
        created, modified = _time(record, "created_at"), _time(record, "modified_at")
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
        if local_id != found["id"]:
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
        identifier = words.derived_id("grouping", self.message.set_id)
        found = {
            "type": "grouping",
            "spec_version": "2.1",
            "id": identifier,
            "created": self.now,
            "modified": self.now,
            "name": self.message.subject,
            "description": self.message.summary,
            "context": "unspecified",
            "object_refs": references,
            "object_marking_refs": [self.tlp(self.message.handling.tlp), *self.statements],
        }
        extras = {"false_positive_risk": FalsePositiveRisk.Name(risk) if risk else ""}
        return self.finish(found, self.message.set_id, extras)

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
        valid_from, valid_until = _time(record, "valid_from"), _time(record, "valid_until")
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
            "first_seen": _time(record, "first_seen"),
            "last_seen": _time(record, "last_seen"),
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
            "start_time": _time(record, "start_at"),
            "stop_time": _time(record, "end_at"),
            "confidence": record.confidence if record.HasField("confidence") else None,
        }
        return self.finish(found, record.local_id, {"filled": filled})

    def sighting(self, record: Any) -> dict[str, Any]:
        """Return one sighting."""
        filled: list[str] = []
        found = self.start("sighting", record, filled)
        found |= {
            "sighting_of_ref": self.target(record.of_ref, "sightings.of_ref"),
            "first_seen": _time(record, "first_seen"),
            "last_seen": _time(record, "last_seen"),
            "count": record.count if record.HasField("count") else None,
            "confidence": record.confidence if record.HasField("confidence") else None,
        }
        return self.finish(found, record.local_id, {"filled": filled})

    def target(self, local_id: str, field: str) -> str:
        """Return the STIX id of a record that was written before."""
        if local_id not in self.ids:
            detail = "no record of this message has this local_id"
            raise error(Reason.RULE_BROKEN, field=field, detail=detail)
        return self.ids[local_id]


def _time(record: Any, field: str) -> str:
    """Return a time as STIX writes it, or nothing."""
    return str(getattr(record, field).ToJsonString()) if record.HasField(field) else ""
