"""Entities: the lines or the array of a FollowTheMoney file, checked for their form and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from infoexchange.errors import Reason, error

# A file this large holds more than a person can send; it is refused before it fills the memory.
_SIZE_MAX = 64 * 1024 * 1024
# Each entity costs some kilobytes once it is read; a list of more is sent as the list it is, not as messages.
_ENTITIES_MAX = 100_000
# Entities are nested in one another's properties two or three deep; more is no file of theirs.
_NESTED_MAX = 8
# The key of ours in an entity. FollowTheMoney keeps keys it does not know.
OWN = "infoexchange"
# A mark as our labels write it, among keywords of any file.
_LABEL = re.compile(
    r"(?:TLP|PAP):[A-Za-z+_]+|(?:OP_STATUS|ONWARD_TRANSFER|PERMITTED_ACTIONS|ATTRIBUTION|RESTRICTION|RETENTION_UNTIL):\S.*",
    re.IGNORECASE | re.DOTALL,
)
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
        return found + [value.upper() if value.upper().startswith(("TLP:", "PAP:")) else value
                        for value in values if _LABEL.fullmatch(value)]  # fmt: skip

    def is_label(self, value: str) -> bool:
        """Tell whether a keyword is a mark."""
        return bool(_LABEL.fullmatch(value))


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
    if len(data) > _SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {_SIZE_MAX}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        raise error(Reason.MALFORMED, field=f"line {line}", detail="the file is not UTF-8") from None
    found: dict[str, Entity] = {}
    for place, raw in _raws(text):
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


def _raws(text: str) -> Iterator[tuple[str, Any]]:
    """Give the objects of the file with their places."""
    if text.lstrip().startswith("["):
        for index, raw in enumerate(_json(text, 1)):
            yield f"[{index}]", raw
        return
    number = start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        line, start, number = text[start:end], end, number + 1
        if line.strip():
            yield f"line {number}", _json(line, number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    # Two readers could choose different ones of two equal names, and see different marks.
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _json(text: str, line: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as broken:
        place = f"line {line + broken.lineno - 1}"
        raise error(Reason.MALFORMED, field=place, detail=f"not JSON: column {broken.colno}") from None
    except (RecursionError, ValueError):
        detail = "nested too deeply, a name twice in one object, or a number that JSON does not have"
        raise error(Reason.MALFORMED, field=f"line {line}", detail=detail) from None


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
    for mark in own["marks"]:
        _text(mark, path)
    return own
