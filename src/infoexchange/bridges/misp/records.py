"""Records: attributes of an event as indicators, what they point to, where they were seen, how they are related."""

from __future__ import annotations

import json
import re
from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.misp import tags, words
from infoexchange.catalogue import DigitalIndicator, IndicatorType, strict_json, text
from infoexchange.errors import ExchangeError, Reason, error

_SCHEMAS = frozenset({"IndicatorSet", "CyberIncidentReport"})
_RELATION = re.compile(r"[a-z0-9-]{1,100}")
_SAID = ("type", "value", "port", "type_text", "pattern", "pattern_type")
# What our schema lets a value, a pattern and a description hold; one that is longer would spoil the whole message.
_LONGEST = {"value": 8000, "pattern": 65536, "name": 500, "description": 8000}
_SECONDS_MAX = 253402300799  # 9999-12-31T23:59:59Z, the last a Timestamp can hold
_FRACTION = re.compile(r"(\.\d{9})\d+")


def is_true(value: object) -> bool:
    """Tell whether MISP means yes: it writes booleans in several ways."""
    return value is True or value in {1, "1", "true", "True"} if isinstance(value, str | int) else False


def tag_names(found: dict[str, Any], path: str) -> list[str]:
    """Return the names of the tags of an event or attribute.

    Raises:
        MalformedError: `BAD_FIELD` with the path.
    """
    listed = strict_json.objects(found, "Tag", path)
    return [strict_json.text(tag, "name", f"{path}.Tag[{index}]".lstrip(".")) for index, tag in enumerate(listed)]


class Records:
    """The attributes of one event, and the records made of them."""

    def __init__(self, attributes: list[tuple[dict[str, Any], str, str]], strictest: int, reading: Reading) -> None:
        self.attributes = attributes
        self.strictest = strictest
        self.reading = reading
        self.number = ""
        self.kept: dict[str, str] = {}  # id of an attribute or object: the local id of its first record
        self.used: set[str] = set()  # every local id
        self.seen: set[str] = set()  # ids of the sightings that our own writer made
        self.related: set[tuple[str, str, str]] = set()

    def own_message(self) -> Any:
        """Return the message that our own writer left of its records, and leave out the attributes that hold it.

        Raises:
            MalformedError: `BAD_FIELD` where it is damaged.
        """
        parts: dict[int, str] = {}
        rest, where, count = [], "", 0
        for attribute, path, inside in self.attributes:
            found = words.OWN.fullmatch(strict_json.text(attribute, "comment", path))
            if not found or attribute.get("type") != "text":
                rest.append((attribute, path, inside))
                continue
            where, count = path, int(found[2])
            parts[int(found[1])] = strict_json.text(attribute, "value", path)[1:-1]
        self.attributes = rest
        if not parts:
            return None
        if sorted(parts) != list(range(1, count + 1)):
            raise strict_json.bad(f"{where}.comment", "an attribute of our own is missing, or there are two messages")
        try:
            found = strict_json.load("".join(parts[index] for index in sorted(parts)).encode())
            schema, body = found["schema"], found["message"]
            if schema not in _SCHEMAS or "handling" in body:
                raise ValueError
            return text.draft_from_json(schema, json.dumps(body))
        except (ExchangeError, ValueError, TypeError, KeyError):
            raise strict_json.bad(f"{where}.value", "our own attribute is damaged") from None

    def fill(self, message: Any, number: str) -> None:
        """Add what the attributes say to a message that is empty, or that our own writer made."""
        self.number = number
        has_contexts = "contexts" in message.DESCRIPTOR.fields_by_name
        stubs = [*message.indicators, *(message.contexts if has_contexts else ())]
        self.used = {record.local_id for record in stubs}
        self.used |= {record.local_id for record in getattr(message, "sightings", ())}
        self.seen = {words.derived(number, "sighting", one) for one in self.used}
        self.related = {(one.from_ref, one.to_ref, one.type) for one in getattr(message, "relationships", ())}
        by_id = dict(zip(words.ids(number, stubs), stubs, strict=True))
        missing = dict(by_id)
        linked: list[tuple[dict[str, Any], str, str]] = []
        parts: dict[str, list[str]] = {}
        for attribute, path, inside in self.attributes:
            identifier = strict_json.text(attribute, "uuid", path).lower()
            if identifier in missing:
                record = missing.pop(identifier)
                self.complete(record, attribute, path)
                made = [record.local_id]
            else:
                made = self.add(message, attribute, path, identifier)
            if made:
                self.note_rest(attribute, path)
                self.kept[identifier or path] = made[0]
                linked.append((attribute, path, made[0]))
            if inside:
                parts.setdefault(inside, []).extend(made)
        for attribute, path, source in linked:
            self.link(message, attribute, path, source)
        for inside, made in parts.items():
            self.kept.setdefault(inside, made[0] if made else "")
            for other in made[1:]:
                self.relate(message, made[0], other, "related-to")
        self.drop(message, {record.local_id for record in missing.values()})

    def complete(self, record: Any, attribute: dict[str, Any], path: str) -> None:
        """Fill in what the attribute says of a record whose other properties are known."""
        value = strict_json.text(attribute, "value", path)
        if isinstance(record, DigitalIndicator):
            if record.type == IndicatorType.INDICATOR_TYPE_PATTERN:
                said = DigitalIndicator(pattern=value)
            else:
                said = words.meaning(strict_json.text(attribute, "type", path), value) or DigitalIndicator(value=value)
            for name in _SAID:
                if not getattr(record, name) and getattr(said, name):
                    setattr(record, name, getattr(said, name))
            _set_time(record, "first_seen", attribute, path)
            _set_time(record, "last_seen", attribute, path)
            self.set_detection(record, attribute)
        else:
            record.name = value
        record.description = strict_json.text(attribute, "comment", path)
        if len(record.description) > _LONGEST["description"]:
            record.description = ""
            self.reading.note(path, "comment", f"longer than {_LONGEST['description']} characters: left out")
        _set_modified(record, attribute, path)
        stated = [tags.to_label(tag) or "" for tag in tag_names(attribute, path)]
        own = [tags.tlp_of(label) for label in stated if tags.is_tlp(label)]
        if own and max(own) < self.strictest:
            record.tlp = max(own)

    def set_detection(self, record: Any, attribute: dict[str, Any]) -> None:
        """Keep whether machines may search for the value."""
        listed = record.indicator_types
        is_marked = words.NOT_FOR_DETECTION in listed
        if "to_ids" in attribute and is_true(attribute["to_ids"]) == is_marked:
            if is_marked:
                listed.remove(words.NOT_FOR_DETECTION)
            else:
                listed.append(words.NOT_FOR_DETECTION)

    def add(self, message: Any, attribute: dict[str, Any], path: str, identifier: str) -> list[str]:
        """Add the records of an attribute that somebody else wrote; return their local ids."""
        kind = strict_json.text(attribute, "type", path)
        category = strict_json.text(attribute, "category", path)
        if kind in words.KIND_OF_CONTEXT and "contexts" in message.DESCRIPTOR.fields_by_name:
            value = strict_json.text(attribute, "value", path)
            if not 0 < len(value) <= _LONGEST["name"]:
                self.reading.note(path, "value", "no name, or too long a one: left out")
                return []
            record = message.contexts.add(local_id=self.new_id(identifier, path), kind=words.KIND_OF_CONTEXT[kind])
            self.complete(record, attribute, path)
            return [record.local_id]
        if category in words.PERSONAL:
            self.reading.note(path, "category", f"attributes of category {category} are not carried")
            return []
        halves = [kind]
        if kind in words.PAIRS:
            left, _, right = kind.partition("|")
            halves = [left, "ip-dst" if right == "ip" else right]
        if not words.is_read(halves[0]):
            self.reading.note(path, "type", f"attributes of type {kind[:60]} are not carried")
            return []
        values = [strict_json.text(attribute, "value", path)]
        if kind in words.PAIRS:
            first, _, second = values[0].rpartition("|")
            values = [first, second]
        return self.add_indicators(message, list(zip(halves, values, strict=True)), (attribute, path, identifier))

    def add_indicators(
        self, message: Any, halves: list[tuple[str, str]], source: tuple[dict[str, Any], str, str]
    ) -> list[str]:
        """Add one indicator, or the two of an attribute that names two things."""
        attribute, path, identifier = source
        said = [words.meaning(kind, value) for kind, value in halves]
        if not all(one is not None and words.is_shaped(one) and _fits(one) for one in said):
            self.reading.note(path, "value", "it has not the shape of its type, or is too long: left out")
            return []
        made = []
        for index, one in enumerate(said):
            one.local_id = self.new_id(identifier if not index else "", f"{identifier or path}#{index}")
            record = message.indicators.add()
            record.CopyFrom(one)
            self.complete(record, attribute | {"type": halves[index][0], "value": halves[index][1]}, path)
            made.append(record.local_id)
        kind = strict_json.text(attribute, "type", path)
        if len(made) > 1:
            self.relate(message, made[0], made[1], words.PAIRS[kind])
        if kind in words.DIRECTED:
            self.reading.note(path, "type", "that the address was the source of a connection is not carried")
        return made

    def note_rest(self, attribute: dict[str, Any], path: str) -> None:
        """Note what of a kept attribute no field holds."""
        for name in ("data", "ShadowAttribute", "Galaxy", "Note", "Opinion"):
            if attribute.get(name):
                self.reading.note(path, name, "property not carried")
        for tag in tag_names(attribute, path):
            if tags.to_label(tag) is None:
                self.reading.note(path, "Tag", tags.taxonomy_of(tag))

    def new_id(self, identifier: str, place: str) -> str:
        """Return a local id that nothing else in the message has."""
        found = identifier if words.UUID.fullmatch(identifier) and identifier not in self.used else ""
        found = found or words.derived(self.number, place)
        self.used.add(found)
        return found

    def link(self, message: Any, attribute: dict[str, Any], path: str, source: str) -> None:
        """Add the sightings of an attribute, and its relations to others."""
        for index, found in enumerate(strict_json.objects(attribute, "Sighting", path)):
            where = f"{path}.Sighting[{index}]"
            identifier = strict_json.text(found, "uuid", where).lower()
            if identifier in self.seen:
                continue
            if str(found.get("type", "0")) != "0" or not hasattr(message, "sightings"):
                self.reading.note(where, "type", "not a sighting, or one that this message has no room for: left out")
                continue
            record = message.sightings.add(local_id=self.new_id(identifier, where), of_ref=source, count=1)
            for field in ("first_seen", "last_seen"):
                _set_seconds(record, field, found.get("date_sighting"), f"{where}.date_sighting")
        for index, found in enumerate(strict_json.objects(attribute, "Relationship", path)):
            where = f"{path}.Relationship[{index}]"
            target = self.kept.get(strict_json.text(found, "related_object_uuid", where).lower(), "")
            kind = strict_json.text(found, "relationship_type", where)
            if not target or not self.relate(message, source, target, kind):
                self.reading.note(where, "related_object_uuid", "a relation to what is not carried: left out")

    def add_references(self, message: Any, found: dict[str, Any], path: str) -> None:
        """Add the relations of an object to others, as relations of its first attribute."""
        source = self.kept.get(strict_json.text(found, "uuid", path).lower(), "")
        for index, one in enumerate(strict_json.objects(found, "ObjectReference", path)):
            where = f"{path}.ObjectReference[{index}]"
            target = self.kept.get(strict_json.text(one, "referenced_uuid", where).lower(), "")
            kind = strict_json.text(one, "relationship_type", where)
            if not source or not target or not self.relate(message, source, target, kind):
                self.reading.note(where, "referenced_uuid", "a relation to or from what is not carried: left out")

    def relate(self, message: Any, source: str, target: str, kind: str) -> bool:
        """Add a relationship, once; False where the message or the schema has no room for it."""
        kind = kind.lower().replace("_", "-").replace(" ", "-")
        if not hasattr(message, "relationships") or not _RELATION.fullmatch(kind) or source == target:
            return False
        if (source, target, kind) not in self.related:
            self.related.add((source, target, kind))
            made = words.derived(self.number, "relationship", source, target, kind)
            message.relationships.add(local_id=made, from_ref=source, to_ref=target, type=kind)
        return True

    def drop(self, message: Any, missing: set[str]) -> None:
        """Take out the records whose attributes are not in the event any more, and what points to them."""
        if not missing:
            return
        self.reading.note("Event", "Attribute", f"{len(missing)} attributes were taken out since we wrote them")
        for name, refs in (("indicators", ("local_id",)), ("contexts", ("local_id",)), ("sightings", ("of_ref",)),
                           ("relationships", ("from_ref", "to_ref"))):  # fmt: skip
            listed = getattr(message, name, ())
            stays = [one for one in listed if not missing & {getattr(one, ref) for ref in refs}]
            if len(stays) < len(listed):
                message.ClearField(name)
                getattr(message, name).extend(stays)


def _fits(record: Any) -> bool:
    return len(record.value) <= _LONGEST["value"] and len(record.pattern) <= _LONGEST["pattern"]


def _set_time(record: Any, field: str, attribute: dict[str, Any], path: str) -> None:
    """Set a time that MISP writes as text, unless it is known more exactly."""
    stated = strict_json.text(attribute, field, path)
    if not stated or record.HasField(field):
        return
    try:
        getattr(record, field).FromJsonString(_FRACTION.sub(r"\1", stated.replace(" ", "T")))
    except (ValueError, OverflowError):
        raise strict_json.bad(f"{path}.{field}", "a time such as 2026-01-31T08:00:00+00:00 is needed") from None


def _set_modified(record: Any, attribute: dict[str, Any], path: str) -> None:
    if not record.HasField("modified_at"):
        _set_seconds(record, "modified_at", attribute.get("timestamp"), f"{path}.timestamp")


def _set_seconds(record: Any, field: str, stated: object, path: str) -> None:
    """Set a time that MISP writes as seconds since 1970; 0 means none."""
    if stated is None or str(stated) in {"", "0"}:
        return
    is_number = not isinstance(stated, bool) and re.fullmatch("[0-9]{1,12}", str(stated))
    if not is_number or int(str(stated)) > _SECONDS_MAX:
        raise error(Reason.BAD_FIELD, field=path, detail="seconds since 1970 are needed")
    getattr(record, field).FromSeconds(int(str(stated)))
