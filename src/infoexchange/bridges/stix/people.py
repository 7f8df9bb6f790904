"""People: persons, organisations and places as identities and locations, and back.

Only objects that our own writer made are read back, and only in a bundle of ours: no identity of somebody else's ever
becomes a person by accident. What STIX has no property for stands in our reference of the same object, each fact once,
so that whoever takes an identity out of a bundle takes out all that was said of the person.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infoexchange.catalogue import Location, Organisation, PersonRole, strict_json
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from infoexchange.bridges.stix.writing import Writer

_VICTIMS = frozenset({PersonRole.PERSON_ROLE_VICTIM, PersonRole.PERSON_ROLE_POSSIBLE_VICTIM})
_NAMING = ("names", "documents", "addresses", "phones")
# STIX demands a name.
_UNNAMED = "unnamed"


def identity_of(writer: Writer, part: str, record: Any, path: str) -> dict[str, Any]:
    """Return the identity of a person or organisation.

    Args:
        writer: The bundle in the making.
        part: The field of the message the record stands in.
        record: The person or organisation.
        path: Where it stands, for an error.

    Raises:
        RefusedError: `RULE_BROKEN` where it names a victim.
    """
    rest = type(record)()
    rest.CopyFrom(record)
    rest.ClearField("local_id")
    found = writer.start("identity", record, [])
    if isinstance(record, Organisation):
        rest.ClearField("name")
        found |= {"name": record.name, "identity_class": "organization"}
        return writer.finish(found, record.local_id, {"part": part, "record": json_of(rest)})
    for name in _NAMING if record.role in _VICTIMS else ():
        if getattr(record, name):
            step = f"Clear {path}.{name}; a SealedIdentity carries who a victim is, and never leaves as a file."
            raise error(Reason.RULE_BROKEN, field=f"{path}.{name}", detail="a victim is not named", next_step=step)
    extras = {"part": part, "named_by": _take_name(rest)}
    rest.ClearField("description")
    found |= {
        "name": _shown_name(record),
        "description": record.description,
        "identity_class": "individual",
    }
    return writer.finish(found, record.local_id, extras | {"record": json_of(rest)})


def _take_name(rest: Any) -> str:
    """Take the name that the identity shows out of what our reference says; return where it stood."""
    if rest.names:
        if rest.names[0].full:
            rest.names[0].ClearField("full")
            return "full"
        return ""
    if rest.pseudonym:
        rest.ClearField("pseudonym")
        return "pseudonym"
    return ""


def _shown_name(record: Any) -> str:
    if record.names:
        first = record.names[0]
        return str(first.full) or " ".join([*first.given, *first.family]) or _UNNAMED
    return str(record.pseudonym) or _UNNAMED


def set_person(record: Any, found: dict[str, Any], path: str, extras: dict[str, Any]) -> None:
    """Fill a person from an identity of ours."""
    set_record(record, extras, path)
    name = strict_json.text(found, "name", path)
    named_by = extras.get("named_by", "")
    if named_by == "full" and record.names:
        record.names[0].full = name
    elif named_by == "pseudonym":
        record.pseudonym = name
    record.description = strict_json.text(found, "description", path)


def set_organisation(record: Any, found: dict[str, Any], path: str, extras: dict[str, Any]) -> None:
    """Fill an organisation from an identity of ours."""
    set_record(record, extras, path)
    record.name = strict_json.text(found, "name", path)


def location_of(writer: Writer, part: str, record: Any) -> dict[str, Any] | None:
    """Return the location of a place; None where STIX has no property for the way it is said."""
    rest = Location()
    rest.CopyFrom(record)
    found: dict[str, Any] = {}
    way = record.WhichOneof("place")
    if way == "point" and record.point.HasField("latitude") and record.point.HasField("longitude"):
        found = {"latitude": record.point.latitude, "longitude": record.point.longitude}
        rest.point.ClearField("latitude")
        rest.point.ClearField("longitude")
        if record.HasField("accuracy_m"):
            found["precision"] = record.accuracy_m
            rest.ClearField("accuracy_m")
    elif way == "subdivision":
        found = {"country": record.subdivision[:2], "administrative_area": record.subdivision}
        rest.ClearField("subdivision")
    elif way == "address" and record.address.country and not any("\n" in line for line in record.address.lines):
        address = record.address
        found = {
            "country": address.country,
            "city": address.locality,
            "postal_code": address.postal_code,
            "street_address": "\n".join(address.lines),
        }
        rest.ClearField("address")
    if not found:
        return None
    return writer.finish(writer.plain("location", part) | found, "", {"part": part, "record": json_of(rest)})


def set_location(record: Any, found: dict[str, Any], path: str, extras: dict[str, Any]) -> None:
    """Fill a place from a location of ours."""
    set_record(record, extras, path)
    if "latitude" in found or "longitude" in found:
        for name in ("latitude", "longitude"):
            setattr(record.point, name, _degrees(found, name, path))
        if "precision" in found:
            record.accuracy_m = _degrees(found, "precision", path)
    elif "administrative_area" in found:
        record.subdivision = strict_json.text(found, "administrative_area", path)
    else:
        record.address.country = strict_json.text(found, "country", path)
        record.address.locality = strict_json.text(found, "city", path)
        record.address.postal_code = strict_json.text(found, "postal_code", path)
        street = strict_json.text(found, "street_address", path)
        record.address.lines.extend(street.split("\n") if street else ())


def _degrees(found: dict[str, Any], name: str, path: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise strict_json.bad(f"{path}.{name}", "a number is needed")
    return float(value)


def json_of(record: Any) -> dict[str, Any]:
    """Return a record, or what is left of it, as JSON with the names of the schema."""
    from google.protobuf import json_format

    return dict(json_format.MessageToDict(record, preserving_proto_field_name=True))


def set_record(record: Any, extras: dict[str, Any], path: str) -> None:
    """Fill a record with what our reference says of it.

    Raises:
        MalformedError: `BAD_FIELD` where it does not describe such a record.
    """
    from google.protobuf import json_format

    value = extras.get("record", {})
    try:
        json_format.Parse(json.dumps(value), record)
    except (ExchangeError, json_format.ParseError, RecursionError, TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise strict_json.bad(f"{path}.external_references", "our reference is damaged")


# The fields that hold persons and organisations, and how each is filled.
PERSONAL: dict[str, Callable[[Any, dict[str, Any], str, dict[str, Any]], None]] = {
    "person": set_person,
    "persons": set_person,
    "associates": set_person,
    "organisations": set_organisation,
}
