"""Writing: IndicatorSets and CyberIncidentReports as events of MISP."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from infoexchange.bridges.misp import tags, words
from infoexchange.catalogue import CyberIncidentReport, DigitalIndicator, IndicatorSet, IndicatorType, OpStatus
from infoexchange.errors import Reason, error

# MISP: shown to nobody but the own organisation until a person widens it, and as far as the event itself is shown.
_OWN_ORGANISATION, _AS_THE_EVENT = "0", "5"
_UNDEFINED_THREAT, _COMPLETE_ANALYSIS, _SEEN = "4", "2", "0"
# What the attribute itself says of an indicator; everything else travels in our own attribute.
_SAID = ("type", "value", "port", "type_text", "pattern", "pattern_type")


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return an event for one message, or a list of events as MISP's search answers with it for several.

    Args:
        messages: IndicatorSets and CyberIncidentReports that keep the rules of the catalogue.
        now: The date of events that have none.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried; `RULE_BROKEN` where there is no message, one of
            another type, or a reference to a record that is not there.
    """
    events: list[dict[str, Any]] = []
    used: set[str] = set()
    for message in messages:
        if not isinstance(message, IndicatorSet | CyberIncidentReport):
            detail = "an event holds an IndicatorSet or a CyberIncidentReport"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
        event = _Writer(message, tags.from_handling(message.handling, allow_red=allow_red)).event(used, now)
        used.add(event["uuid"])
        events.append({"Event": event})
    if not events:
        detail = "there is no message to write"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Name at least one message.")
    document = events[0] if len(events) == 1 else {"response": events}
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


class _Writer:
    """One event in the making: the message without what its attributes say, and the attributes."""

    def __init__(self, message: Any, marks: list[str]) -> None:
        self.is_set = isinstance(message, IndicatorSet)
        self.message = message
        self.marks = marks
        self.number = message.set_id if self.is_set else message.incident_id
        self.rest = type(message)()
        self.rest.CopyFrom(message)
        self.rest.ClearField("handling")
        self.rest.ClearField("summary")
        self.rest.ClearField("attachments")
        self.records = [*message.indicators, *(message.contexts if self.is_set else ())]
        self.ids = words.ids(self.number, self.records)
        self.places = {record.local_id: index for index, record in enumerate(self.records)}

    def event(self, used: set[str], now: datetime) -> dict[str, Any]:
        """Return the event."""
        stubs = [*self.rest.indicators, *(self.rest.contexts if self.is_set else ())]
        attributes = [self.attribute(*one) for one in zip(self.records, stubs, self.ids, strict=True)]
        marks, status = list(self.marks), self.message.handling.op_status
        # The line is ours alone, so it can say what lists show without their tags.
        info = f"Incident {self.number}"
        if status in {OpStatus.OP_STATUS_EXERCISE, OpStatus.OP_STATUS_TEST}:
            info = f"{OpStatus.Name(status).removeprefix('OP_STATUS_')}: {info}"
        if self.is_set:
            info = self.message.subject
            self.rest.ClearField("subject")
            for number, sighting in enumerate(self.message.sightings):
                self.add_sighting(attributes, sighting, f"sightings[{number}].of_ref")
            for number, link in enumerate(self.message.relationships):
                self.add_relationship(attributes, link, f"relationships[{number}]", now)
        else:
            tag = tags.from_incident_type(self.message.type)
            if tag:
                marks.append(tag)
                self.rest.ClearField("type")
        own = self.number if words.UUID.fullmatch(self.number) and self.number not in used else ""
        event: dict[str, Any] = {
            "uuid": own or words.derived(type(self.message).DESCRIPTOR.name, self.number),
            "info": info,
            "date": self.date(now),
            "published": False,
            "distribution": _OWN_ORGANISATION,
            "threat_level_id": _UNDEFINED_THREAT,
            "analysis": _COMPLETE_ANALYSIS,
            "Tag": [{"name": name} for name in marks],
            "Attribute": [*attributes, *self.own_attributes()],
        }
        if self.message.summary:
            identifier = words.derived(self.number, "summary")
            report = {"uuid": identifier, "name": "Summary", "distribution": _AS_THE_EVENT}
            event["EventReport"] = [report | {"content": self.message.summary}]
        return event

    def date(self, now: datetime) -> str:
        """Return the day of the event: that of the incident where one is known."""
        for field in () if self.is_set else ("detected_at", "started_at"):
            if self.message.HasField(field):
                return str(getattr(self.message, field).ToJsonString()[:10])
        return now.astimezone(UTC).date().isoformat()

    def attribute(self, record: Any, stub: Any, identifier: str) -> dict[str, Any]:
        """Return the attribute of a record, and leave only in the stub what the attribute does not say."""
        is_indicator = isinstance(record, DigitalIndicator)
        native = words.native(record) if is_indicator else words.native_context(record)
        stub.ClearField("description")
        found: dict[str, Any] = {
            "uuid": identifier,
            "type": native.type,
            "category": native.category,
            "value": native.value,
            "comment": record.description,
            "to_ids": is_indicator and words.NOT_FOR_DETECTION not in record.indicator_types,
            "distribution": _AS_THE_EVENT,
        }
        if record.tlp:
            found["Tag"] = [{"name": tags.from_label(tags.label_of(record.tlp))}]
            stub.ClearField("tlp")
        if record.HasField("modified_at") and not record.modified_at.nanos and record.modified_at.seconds > 0:
            found["timestamp"] = str(record.modified_at.seconds)
            stub.ClearField("modified_at")
        if not is_indicator:
            stub.ClearField("name")
            return found
        for field in ("first_seen", "last_seen"):
            # MISP keeps microseconds.
            if record.HasField(field) and not getattr(record, field).nanos % 1000:
                found[field] = getattr(record, field).ToDatetime(tzinfo=UTC).isoformat(timespec="microseconds")
                stub.ClearField(field)
        _clear_said(record, stub, native)
        return found

    def add_sighting(self, attributes: list[dict[str, Any]], sighting: Any, path: str) -> None:
        """Show a sighting to MISP too; what it has no place for stays in our own attribute."""
        seen = sighting.last_seen if sighting.HasField("last_seen") else sighting.first_seen
        attribute = self.target(attributes, sighting.of_ref, path)
        if attribute is not None and seen.seconds > 0:
            identifier = words.derived(self.number, "sighting", sighting.local_id)
            found = {"uuid": identifier, "type": _SEEN, "date_sighting": str(seen.seconds)}
            attribute.setdefault("Sighting", []).append(found)

    def add_relationship(self, attributes: list[dict[str, Any]], link: Any, path: str, now: datetime) -> None:
        """Show a relationship to MISP too."""
        source = self.target(attributes, link.from_ref, f"{path}.from_ref")
        target = self.target(attributes, link.to_ref, f"{path}.to_ref")
        if source is None or target is None:
            return
        stamp = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        found = {
            "uuid": words.derived(self.number, "relationship", link.local_id),
            "object_uuid": source["uuid"],
            "object_type": "Attribute",
            "related_object_uuid": target["uuid"],
            "related_object_type": "Attribute",
            "relationship_type": link.type,
            "distribution": _OWN_ORGANISATION,
            "created": stamp,
            "modified": stamp,
        }
        source.setdefault("Relationship", []).append(found)

    def target(self, attributes: list[dict[str, Any]], local_id: str, path: str) -> dict[str, Any] | None:
        """Return the attribute of a record; None for a record that has none of its own, such as a sighting."""
        if local_id in self.places:
            return attributes[self.places[local_id]]
        others = [*self.message.sightings, *self.message.relationships]
        if not any(one.local_id == local_id for one in others):
            detail = "no record of this message has this local_id"
            raise error(Reason.RULE_BROKEN, field=path, detail=detail)
        return None

    def own_attributes(self) -> list[dict[str, Any]]:
        """Return the text attributes with what MISP has no place for."""
        from google.protobuf import json_format

        body = json_format.MessageToDict(self.rest, preserving_proto_field_name=True)
        schema = type(self.message).DESCRIPTOR.name
        whole = json.dumps({"schema": schema, "message": body}, sort_keys=True, separators=(",", ":"))
        parts = [whole[start : start + words.PART_MAX] for start in range(0, len(whole), words.PART_MAX)]
        return [
            {
                "uuid": words.derived(self.number, "part", str(index)),
                "type": "text",
                "category": "Internal reference",
                # In brackets, because MISP takes blanks off the ends of a value.
                "value": f"[{part}]",
                "comment": f"infoexchange {index} of {len(parts)}",
                "to_ids": False,
                "disable_correlation": True,
                "distribution": _AS_THE_EVENT,
            }
            for index, part in enumerate(parts, 1)
        ]


def _clear_said(record: Any, stub: Any, native: words.Native) -> None:
    """Take out of a stub what its attribute says, and what a reader makes of it."""
    if record.type == IndicatorType.INDICATOR_TYPE_PATTERN and native.type not in words.PATTERN_OF:
        stub.ClearField("pattern")
        return
    said = words.meaning(native.type, native.value) or DigitalIndicator(value=native.value)
    for name in _SAID:
        if getattr(said, name) == getattr(record, name):
            stub.ClearField(name)
