"""Reading: a file of FollowTheMoney as messages; those of our own writing come back as they went."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from infoexchange import catalogue
from infoexchange.bridges import Reading
from infoexchange.bridges.ftm import entities, kinds, links, packing, rest
from infoexchange.bridges.ftm.entities import OWN, Entity, bad
from infoexchange.bridges.ftm.gathering import Gathered
from infoexchange.catalogue import Handling, Relationship, labels

# Written for other tools beside what our own key says.
_REPEATED = frozenset(
    {"passportNumber", "idNumber", "topics", "payer", "payerAccount", "beneficiary", "beneficiaryAccount", "holder",
     "operator", "entity", "description", "name", "balanceDate", "title",
     "position", *entities.LABELLED}
)  # fmt: skip


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the messages of a file, and notes on what was left out.

    Args:
        data: Entities as JSON in UTF-8, one per line or in one array.
        handling: The marks of every message. What is unset is filled from the file; what is weaker is refused. The
            marks of one entity hold for its whole message, and those of other people's entities for all of these.
        now: The time of reading: whether somebody is a minor, and whether a listing has ended, is said for it.

    Raises:
        MalformedError: As `entities.read_all`, and `BAD_FIELD` where our own key is damaged.
        RefusedError: `TOO_LARGE` as `entities.read_all`; `MARK_LOST` where `handling` is weaker than the file's marks.
    """
    found = entities.read_all(data)
    reading = Reading(lambda _: iter(messages))
    messages = list(_messages(found, handling, reading, now))
    return reading


def _messages(found: list[Entity], handling: Handling, reading: Reading, now: datetime) -> Iterator[Any]:
    groups: dict[str, list[Entity]] = {}
    for entity in found:
        groups.setdefault(entity.own["message"] if entity.own is not None else "", []).append(entity)
    others = groups.pop("", [])
    for group in groups.values():
        heads = [entity for entity in group if entity.own and entity.own.get("type")]
        if len(heads) > 1:
            bad(f"{heads[1].place}: {OWN}", "two entities say what message they are")
        if heads:
            yield _own(heads[0], group, handling, reading, now)
        else:
            reading.note(group[0].place, OWN, "what message it was is missing: read like any other file")
            others += group
    if others:
        marks = labels.with_labels(handling, [label for entity in others for label in entity.labels()])
        yield from packing.messages(Gathered(others, reading, now), marks)


def _own(head: Entity, group: list[Entity], handling: Handling, reading: Reading, now: datetime) -> Any:
    """Return a message of our own writing."""
    own, path = head.own or {}, f"{head.place}: {OWN}"
    if own["type"] not in kinds.TYPES:
        bad(path, "no message of this type is read from such a file")
    message: Any = catalogue.message_type(own["type"])()
    fields = kinds.record_fields(own["type"])
    message.handling.CopyFrom(labels.with_labels(handling, [label for entity in group for label in entity.labels()]))
    if own["type"] == "SanctionsUpdate":
        message.MergeFrom(links.to_sanction(head, _no_note, now))
    rest.restore(message, own.get("rest", {}), path, kept=("handling", *fields))
    for entity in group:
        if entity is not head and not (entity.own or {}).get("aside"):
            _add(message, fields, entity, now)
        _note_more(entity, reading)
    return message


def _add(message: Any, fields: dict[str, Any], entity: Entity, now: datetime) -> None:
    """Add one record of a message of our own writing."""
    own, path = entity.own or {}, f"{entity.place}: {OWN}"
    field = fields.get(own.get("field", ""))
    if field is None:
        bad(path, "the message has no such records")
    kind = field.message_type.name
    if kind == "Relationship":
        record: Any = Relationship()
        entity.take(*entity.properties)
    elif kinds.SCHEMAS.get(entity.schema) != kind:
        bad(path, "the schema is not that of its records")
    else:
        record = kinds.READERS[kind](entity, _no_note, now)
        for name in kinds.STATED:
            if name in record.DESCRIPTOR.fields_by_name:
                record.ClearField(name)
    rest.restore(record, own.get("rest", {}), path)
    if field.is_repeated:
        getattr(message, field.name).append(record)
    elif message.HasField(field.name):
        bad(path, "the message takes one such record")
    else:
        getattr(message, field.name).CopyFrom(record)


def _note_more(entity: Entity, reading: Reading) -> None:
    """Note what another tool added to an entity of ours."""
    if (entity.own or {}).get("aside"):
        return
    for name in sorted(entity.properties.keys() - entity.taken - _REPEATED):
        reading.note(entity.place, name[:60], "added by somebody else: not carried")


def _no_note(_: str, __: str) -> None:
    """Take the notes on properties that our own key completes."""
