"""Reports: CyberIncidentReport, FraudAlert and PersonNotice as objects of a bundle, and back.

A grouping stands for the message. What STIX has an object or property for is written there, and the rest of the message
in the grouping's reference to ourselves; each fact stands once. Only such a grouping makes a bundle one of these types,
and only indicators and relationships are taken from others who added to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from infoexchange import catalogue
from infoexchange.bridges import Reading
from infoexchange.bridges.stix import bundle, people
from infoexchange.catalogue import Code, CyberIncidentReport, Handling, OpStatus, codes, strict_json

if TYPE_CHECKING:
    from infoexchange.bridges.stix.reading import Reader
    from infoexchange.bridges.stix.writing import Writer

# The types that go into a bundle, and the field that numbers each.
NUMBERS = {
    "IndicatorSet": "set_id",
    "CyberIncidentReport": "incident_id",
    "FraudAlert": "alert_id",
    "PersonNotice": "notice_id",
}
# What the description of the grouping says.
_TEXTS = {"CyberIncidentReport": "summary", "FraudAlert": "description", "PersonNotice": "facts"}
_TECHNIQUE = re.compile(r"T[0-9]{4}([.][0-9]{3})?")
_ATTACK = "mitre-attack"  # the source name that MITRE's own bundles use
_PLACE = "last_seen_place"
_LISTS = ("person", "persons", "associates", "organisations")
_INCIDENT, _CAMPAIGN, _TECHNIQUES = "incident", "campaign", "attack_techniques"
# What our objects have, so that anything else is noted.
_PROPERTIES = {
    "identity": {"identity_class"},
    "location": {"latitude", "longitude", "precision", "country", "administrative_area", "city", "postal_code",
                 "street_address"},
    "campaign": {"first_seen", "last_seen"},
    "incident": set(),
}  # fmt: skip


def objects_of(writer: Writer) -> list[dict[str, Any]]:
    """Return the objects of a message: marks first, the grouping, then what it holds.

    Raises:
        RefusedError: `RULE_BROKEN` where a victim is named.
    """
    message = writer.message
    schema = message.DESCRIPTOR.name
    rest = type(message)()
    rest.CopyFrom(message)
    for name in ("handling", "attachments", "subject", NUMBERS[schema], _TEXTS[schema], "indicators"):
        if name in message.DESCRIPTOR.fields_by_name:
            rest.ClearField(name)
    made = [writer.indicator(record) for record in getattr(message, "indicators", ())]
    for name in _LISTS:
        made += _identities(writer, rest, name)
    made += {"CyberIncidentReport": _incident, "FraudAlert": _campaign, "PersonNotice": _place}[schema](writer, rest)
    links = getattr(message, "relationships", ())
    if all(ref in writer.ids for link in links for ref in (link.from_ref, link.to_ref)):
        made += [writer.relationship(link) for link in links]
        if links:
            rest.ClearField("relationships")
    grouping = writer.plain("grouping", "") | {
        "name": _title(message),
        "description": getattr(message, _TEXTS[schema]),
        "context": "suspicious-activity",
        "object_refs": [found["id"] for found in made],
    }
    extras = {"schema": schema, "message": people.json_of(rest)}
    grouping = writer.finish(grouping, getattr(message, NUMBERS[schema]), extras)
    return [*writer.used.values(), grouping, *made]


def _title(message: Any) -> str:
    """Return the line that lists show; an incident has none of its own, and one of an exercise must not look real."""
    if message.DESCRIPTOR.name != "CyberIncidentReport":
        return str(message.subject)
    title, status = f"Incident {message.incident_id}", message.handling.op_status
    if status in {OpStatus.OP_STATUS_EXERCISE, OpStatus.OP_STATUS_TEST}:
        return f"{OpStatus.Name(status).removeprefix('OP_STATUS_')}: {title}"
    return title


def _identities(writer: Writer, rest: Any, name: str) -> list[dict[str, Any]]:
    """Return the identities of the persons or organisations in one field."""
    field = rest.DESCRIPTOR.fields_by_name.get(name)
    if field is None or not (field.is_repeated or rest.HasField(name)):
        return []
    value = getattr(rest, name)
    records = list(value) if field.is_repeated else [value]
    paths = [f"{name}[{index}]" if field.is_repeated else name for index in range(len(records))]
    made = [people.identity_of(writer, name, record, path) for record, path in zip(records, paths, strict=True)]
    rest.ClearField(name)
    return made


def _incident(writer: Writer, rest: Any) -> list[dict[str, Any]]:
    incident = writer.plain("incident", "") | {"name": _title(writer.message)}
    made = [writer.finish(incident, "", {"part": _INCIDENT})]
    for technique in rest.attack_techniques:
        pattern = writer.plain("attack-pattern", technique) | {"name": technique}
        pattern = writer.finish(pattern, "", {"part": _TECHNIQUES})
        pattern["external_references"].insert(0, {"source_name": _ATTACK, "external_id": technique})
        made.append(pattern)
    rest.ClearField("attack_techniques")
    return made


def _campaign(writer: Writer, rest: Any) -> list[dict[str, Any]]:
    campaign = writer.plain("campaign", "") | {"name": writer.message.subject}
    for name in ("first_seen", "last_seen"):
        if rest.HasField(name):
            campaign[name] = bundle.time_text(rest, name)
            rest.ClearField(name)
    return [writer.finish(campaign, "", {"part": _CAMPAIGN})]


def _place(writer: Writer, rest: Any) -> list[dict[str, Any]]:
    # A draft may have no person yet.
    if not rest.HasField(_PLACE) or writer.message.person.local_id not in writer.ids:
        return []
    location = people.location_of(writer, _PLACE, rest.last_seen_place)
    if location is None:
        return []
    rest.ClearField(_PLACE)
    link = writer.plain("relationship", _PLACE) | {
        "relationship_type": "located-at",
        "source_ref": writer.ids[writer.message.person.local_id],
        "target_ref": location["id"],
    }
    return [location, writer.finish(link, "", {"part": _PLACE})]


def read(reader: Reader, place: int, reading: Reading) -> Any:
    """Return the message that our own writer made.

    Args:
        reader: The bundle.
        place: Which of its objects is the grouping.
        reading: Where notes go.

    Raises:
        MalformedError: `BAD_FIELD` where what we wrote was damaged.
    """
    grouping, path = reader.objects[place], f"objects[{place}]"
    number, extras = bundle.own_reference(grouping, path)
    schema = extras["schema"]
    if not isinstance(schema, str) or schema not in _TEXTS:
        raise strict_json.bad(f"{path}.external_references", "our reference names a type that is not known here")
    message: Any = catalogue.message_type(schema)()
    people.set_record(message, {"record": extras.get("message")}, path)
    if message.HasField("handling"):
        raise strict_json.bad(f"{path}.external_references", "our reference has marks of its own")
    message.handling.CopyFrom(reader.marks.handling)
    bundle.note_rest(grouping, ("context", "object_refs"), path, reading)
    setattr(message, NUMBERS[schema], number)
    setattr(message, _TEXTS[schema], strict_json.text(grouping, "description", path))
    if "subject" in message.DESCRIPTOR.fields_by_name:
        message.subject = strict_json.text(grouping, "name", path)
    links = []
    for index, found in enumerate(reader.objects):
        where = f"objects[{index}]"
        if index == place or found["type"] in {"marking-definition", "extension-definition"}:
            continue
        if found.get("revoked") is True:
            reading.note(where, "revoked", "the object was revoked: left out")
        elif found["type"] == "relationship":
            links.append((found, where))
        elif not _take(reader, message, found, where, reading):
            reading.note(where, "type", f"objects of type {found['type'][:60]} are not carried")
    for found, where in links:
        if bundle.own_reference(found, where)[1].get("part") == _PLACE:
            continue
        if "relationships" in message.DESCRIPTOR.fields_by_name:
            reader.link(message, found, where, reading)
        else:
            reading.note(where, "type", "relationships are not carried by this type of message")
    return message


def _take(reader: Reader, message: Any, found: dict[str, Any], path: str, reading: Reading) -> bool:
    """Take one object into the message; False where there is no room for it, or where somebody else named a person."""
    kind, fields = found["type"], message.DESCRIPTOR.fields_by_name
    if kind == "indicator" and "indicators" in fields:
        reader.indicator(message, found, path, reading)
        return True
    number, extras = bundle.own_reference(found, path)
    part = extras.get("part")
    if kind == "attack-pattern" and part == _TECHNIQUES and part in fields:
        technique = _technique(found, path)
        if technique and technique not in message.attack_techniques:
            message.attack_techniques.append(technique)
        return bool(technique)
    if kind == "campaign" and part == _CAMPAIGN and "alert_id" in fields:
        for name in ("first_seen", "last_seen"):
            bundle.set_time(message, name, found, name, path)
    elif kind == "location" and part == _PLACE and part in fields:
        people.set_location(message.last_seen_place, found, path, extras)
    elif kind == "identity" and isinstance(part, str) and part in people.PERSONAL and part in fields:
        record = getattr(message, part).add() if fields[part].is_repeated else getattr(message, part)
        people.PERSONAL[part](record, found, path, extras)
        record.local_id = number or found["id"]
        reader.kept[found["id"]] = record.local_id
    elif kind != "incident" or part != _INCIDENT:
        return False
    bundle.note_rest(found, _PROPERTIES[kind], path, reading)
    return True


def _technique(found: dict[str, Any], path: str) -> str:
    """Return the number of MITRE ATT&CK that an attack pattern refers to, or nothing."""
    for reference in bundle.references(found):
        number = strict_json.text(reference, "external_id", path)
        if reference.get("source_name") == _ATTACK and _TECHNIQUE.fullmatch(number):
            return number
    return ""


def foreign_incident(handling: Handling, found: dict[str, Any], path: str, reading: Reading) -> Any:
    """Return the report of an incident that somebody else wrote: its number and what is told of it.

    STIX 2.1 does not say what kind of incident it is, so that a person has to.
    """
    known = codes.load("rsit")
    report = CyberIncidentReport(handling=handling, incident_id=found["id"])
    report.type.CopyFrom(Code(system="rsit", version=known.version, value="other:undetermined"))
    told = [strict_json.text(found, name, path) for name in ("name", "description")]
    report.summary = "\n\n".join(part for part in told if part)
    bundle.note_rest(found, (), path, reading)
    return report
