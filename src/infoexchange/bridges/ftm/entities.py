"""Entities: the lines or the array of a FollowTheMoney file, checked for their form and nothing else."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from infoexchange.catalogue import labels, strict_json
from infoexchange.errors import ExchangeError, Reason, error

# Each entity costs some kilobytes once it is read; a list of more is sent as the list it is, not as messages.
_ENTITIES_MAX = 100_000
# Entities are nested in one another's properties two or three deep; more is no file of theirs.
_NESTED_MAX = 8
# The key of ours in an entity. FollowTheMoney keeps keys it does not know.
OWN = "infoexchange"
# Things have keywords; what lies in time, such as a sanction, has only a summary that takes several values.
LABELLED = ("keywords", "summary")


@dataclass(slots=True)
class Entity:
    """One entity: where it stands, what it is, its values by property, and what our own key says."""

    place: str
    id: str
    schema: str
    properties: dict[str, list[str]]
    own: dict[str, Any] | None = None
    taken: set[str] = field(default_factory=set)

    def take(self, *names: str) -> list[str]:
        """Return the values of properties, which are then no longer left over."""
        self.taken.update(names)
        return list(dict.fromkeys(value for name in names for value in self.properties.get(name, ())))

    def first(self, *names: str) -> str:
        """Return the first value of properties, or nothing."""
        found = self.take(*names)
        return found[0] if found else ""

    def labels(self) -> list[str]:
        """Return the marks of this entity, whoever wrote it."""
        found = [] if self.own is None else list(self.own["marks"])
        values = [value for name in LABELLED for value in self.properties.get(name, ())]
        return found + [value for value in values if labels.is_label(value)]


def bad(path: str, detail: str) -> NoReturn:
    """Refuse a value of the file."""
    raise error(Reason.BAD_FIELD, field=path, detail=detail)


def read_all(data: bytes) -> list[Entity]:
    """Return the entities of a file, those nested in others among them, in their order.

    Raises:
        MalformedError: `MALFORMED` with the line for what is no JSON or no entity, `BAD_FIELD` with line and path for
            a value that is none.
        RefusedError: `TOO_LARGE` beyond 64 MiB or 100,000 entities.
    """
    if len(data) > strict_json.SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {strict_json.SIZE_MAX}")
    found: dict[str, Entity] = {}
    for place, raw in _raws(data):
        for entity in _entities(raw, place, 0):
            _keep(found, entity)
            if len(found) > _ENTITIES_MAX:
                step = "Send the list as an attachment, or cut it into files."
                raise error(Reason.TOO_LARGE, detail=f"more than {_ENTITIES_MAX} entities", next_step=step)
    if not found:
        raise error(Reason.MALFORMED, field="line 1", detail="there is no entity in the file")
    return list(found.values())


def _keep(found: dict[str, Entity], entity: Entity) -> None:
    """Keep an entity; what stands in several pieces under one id is one, as their tools have it."""
    first = found.setdefault(entity.id, entity)
    if first is entity:
        return
    if first.own is not None or entity.own is not None or first.schema != entity.schema:
        bad(f"{entity.place}: id", f"the id stands in {first.place} too, for something else")
    for name, values in entity.properties.items():
        first.properties.setdefault(name, []).extend(values)


def _raws(data: bytes) -> Iterator[tuple[str, Any]]:
    """Give the objects of the file with their places."""
    if data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        for index, raw in enumerate(_json(data, 1)):
            yield f"[{index}]", raw
        return
    number = start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        line, start, number = data[start:end], end, number + 1
        if line.strip():
            yield f"line {number}", _json(line, number)


def _json(raw: bytes, line: int) -> Any:
    """Return the value of one line, or of the whole file; an error says which line of the file it is."""
    try:
        return strict_json.load(raw)
    except ExchangeError as refused:
        within = refused.field.removeprefix("line ")
        place = f"line {line + int(within) - 1 if within else line}"
        raise error(refused.reason, field=place, detail=refused.detail, next_step=refused.next_step) from None


def _entities(raw: Any, place: str, depth: int) -> Iterator[Entity]:
    """Give an entity and those nested in its properties, which are then named there by their ids."""
    names = ("id", "schema", "properties")
    if not isinstance(raw, dict) or any(name not in raw for name in names) or depth > _NESTED_MAX:
        detail = "an entity has id, schema and properties, and few others inside it"
        raise error(Reason.MALFORMED, field=place, detail=detail)
    properties = raw["properties"]
    identifier, schema = _text(raw["id"], f"{place}: id"), _text(raw["schema"], f"{place}: schema")
    if not identifier or not schema or not isinstance(properties, dict):
        bad(place, "id and schema are texts, properties is an object")
    entity = Entity(place, identifier, schema, {}, _own(raw.get(OWN), f"{place}: {OWN}") if OWN in raw else None)
    nested: list[Entity] = []
    for name, values in properties.items():
        path = f"{place}: {_text(name, place)[:60]}"
        texts = entity.properties[name] = []
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, dict):
                inside = list(_entities(value, place, depth + 1))
                texts.append(inside[0].id)
                nested += inside
            else:
                texts.append(_text(value, path).strip())
        entity.properties[name] = [value for value in texts if value]
    yield entity
    yield from nested


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        bad(path, "text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        bad(path, "half of a surrogate pair is no text")
    return value


def _own(own: Any, path: str) -> dict[str, Any]:
    """Return what our own key says, once it has the form we write."""
    forms = {"marks": list, "message": str, "type": str, "field": str, "rest": dict, "aside": bool}
    if not isinstance(own, dict) or any(type(own[name]) is not forms.get(name) for name in own):
        bad(path, "our own key is damaged")
    if not {"marks", "message"} <= own.keys() or not all(isinstance(mark, str) for mark in own["marks"]):
        bad(path, "our own key has lost its marks or its message")
    try:
        # Names and values of the rest go to protobuf, which must never see half of a surrogate pair.
        json.dumps(own, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        bad(path, "our own key holds what is no text, or is nested too deeply")
    return own
