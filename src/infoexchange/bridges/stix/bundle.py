"""Bundle: the objects of a STIX 2.1 bundle and their marks, and the properties of one object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from infoexchange.bridges import Reading
from infoexchange.bridges.stix import words
from infoexchange.catalogue import Handling, labels, strict_json
from infoexchange.errors import Reason, error

_COUNT_MAX = 4_294_967_295  # what a count in the message can hold


def objects_of(data: bytes) -> tuple[list[dict[str, Any]], str]:
    """Return the objects of a bundle and its id.

    Raises:
        MalformedError: As `reading.read`.
    """
    bundle = strict_json.load(data)
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
        raise strict_json.bad("objects", "objects must be a list of objects")
    for index, found in enumerate(objects):
        path = f"objects[{index}]"
        kind, identifier = strict_json.text(found, "type", path), strict_json.text(found, "id", path)
        if not words.STIX_ID.fullmatch(identifier) or not identifier.startswith(f"{kind}--"):
            raise strict_json.bad(f"{path}.id", "an id is the type, two dashes and a UUID")
        if found.get("spec_version", "2.1") != "2.1" or ("created" in found and "spec_version" not in found):
            detail = "only objects of STIX 2.1 are read"
            raise error(Reason.UNKNOWN_VERSION, field=f"{path}.spec_version", detail=detail)
    return objects, strict_json.text(bundle, "id", "") or "bundle"


def texts(found: dict[str, Any], name: str, path: str) -> list[str]:
    """Return a list of texts of an object."""
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise strict_json.bad(f"{path}.{name}", "a list of texts is needed")
    return [strict_json.text({name: one}, name, path) for one in value]


def time_text(record: Any, field: str) -> str:
    """Return a time as STIX writes it, or nothing; to the microsecond, because readers of STIX take no more digits."""
    if field not in record.DESCRIPTOR.fields_by_name or not record.HasField(field):
        return ""
    moment = type(getattr(record, field))()
    moment.CopyFrom(getattr(record, field))
    moment.nanos -= moment.nanos % 1000
    return str(moment.ToJsonString())


def set_time(record: Any, field: str, found: dict[str, Any], name: str, path: str) -> None:
    """Set a time of a record from a property, if it is there."""
    text = strict_json.text(found, name, path)
    if not text:
        return
    try:
        getattr(record, field).FromJsonString(words.FRACTION.sub(r"\1", text))
    except (ValueError, OverflowError):
        raise strict_json.bad(f"{path}.{name}", "a time such as 2026-01-31T08:00:00Z is needed") from None


def set_number(record: Any, field: str, found: dict[str, Any], path: str) -> None:
    """Set a whole number of a record from the property of the same name, if it is there."""
    value = found.get(field)
    if value is None:
        return
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise strict_json.bad(f"{path}.{field}", "a whole number is needed")
    setattr(record, field, value)


class Marks:
    """The marks of a bundle: what its marking-definitions say, and which label every object has."""

    def __init__(self, objects: list[dict[str, Any]], handling: Handling) -> None:
        self.objects = objects
        self.definitions = dict(words.LABEL_OF_ID)
        self.define()
        flat = [mark for found in self.labels_of_objects() for mark in found]
        # A record is marked by itself only where it is less strict than the strictest of its bundle.
        self.strictest = max((words.TLP_OF_LABEL[mark] for mark in flat if is_tlp(mark)), default=0)
        self.handling = labels.with_labels(handling, flat)

    def own_tlp(self, found: dict[str, Any], path: str) -> int:
        """Return the TLP mark of an object where it is less strict than its bundle, else 0."""
        own = [words.TLP_OF_LABEL[mark] for mark in self.labels_of(found, path) if is_tlp(mark)]
        return max(own) if own and max(own) < self.strictest else 0

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
            strict_json.text({"statement": label}, "statement", f"objects[{index}].definition")
            if self.definitions.setdefault(found["id"], label) != label:
                self.lost(f"objects[{index}]", "a marking is defined twice, and not in the same way")

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
        references = texts(found, "object_marking_refs", path)
        granular = found.get("granular_markings", [])
        if not isinstance(granular, list) or not all(isinstance(one, dict) for one in granular):
            raise strict_json.bad(f"{path}.granular_markings", "a list of objects is needed")
        # A marking of a language is no mark on its handling.
        references += [strict_json.text(one, "marking_ref", path) for one in granular if "lang" not in one]
        unknown = [reference for reference in references if reference not in self.definitions]
        if unknown:
            self.lost(f"{path}.object_marking_refs", "a marking is not defined in the bundle")
        return [self.definitions[reference] for reference in references]


def is_tlp(label: str) -> bool:
    """Tell whether a label is one of TLP."""
    return label in words.TLP_OF_LABEL


def enum_of(enum: Any, name: Any, path: str) -> int:
    """Return the number of a name that one of our references gives."""
    if not isinstance(name, str) or name not in enum.DESCRIPTOR.values_by_name:
        raise strict_json.bad(
            f"{path}.external_references", "our reference names a value that is not known to this version"
        )
    return int(enum.Value(name))


def own_reference(found: dict[str, Any], path: str) -> tuple[str, dict[str, Any]]:
    """Return the local id and the additions that our own writer put into an external reference."""
    for reference in references(found):
        if reference.get("source_name") != words.SOURCE:
            continue
        try:
            extras = json.loads(
                strict_json.text(reference, "description", path) or "{}", object_pairs_hook=strict_json.once
            )
            # Inside this text, half of a surrogate pair can still be written as an escape.
            json.dumps(extras, ensure_ascii=False).encode()
        except (RecursionError, ValueError):
            extras = None
        if not isinstance(extras, dict) or not isinstance(extras.get("filled", []), list):
            raise strict_json.bad(f"{path}.external_references", "our reference is damaged")
        return strict_json.text(reference, "external_id", path), extras
    return "", {}


def references(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the external references of an object."""
    value = found.get("external_references", [])
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def note_rest(found: dict[str, Any], read_here: Iterable[str], path: str, reading: Reading) -> None:
    """Note the properties of a kept object that no field holds."""
    for name in sorted(found.keys() - words.ALWAYS_READ - set(read_here)):
        reading.note(path, name[:60], "property not carried")
    if any(reference.get("source_name") != words.SOURCE for reference in references(found)):
        reading.note(path, "external_references", "property not carried")
