"""Rest: what FollowTheMoney has no property for, so that a message comes back as it went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from infoexchange.bridges.ftm.entities import bad
from infoexchange.errors import Reason, error


def difference(record: Any, back: Any) -> dict[str, Any]:
    """Return the fields that properties alone would not bring back; None for one that they would bring wrongly.

    Args:
        record: What is written.
        back: What reading its properties gives.

    Raises:
        RefusedError: `RULE_BROKEN` where a field holds what no rule allows, such as a time in no calendar.
    """
    wanted, found = _fields(record), _fields(back)
    missing: dict[str, Any] = {name: value for name, value in wanted.items() if found.get(name) != value}
    return missing | {name: None for name in found if name not in wanted}


def _fields(record: Any) -> dict[str, Any]:
    try:
        return dict(json_format.MessageToDict(record, preserving_proto_field_name=True))
    except (ValueError, json_format.SerializeToJsonError):
        name = record.DESCRIPTOR.name
        raise error(Reason.RULE_BROKEN, field=name, detail="a value cannot be written as text") from None


def restore(record: Any, rest: dict[str, Any], path: str, kept: Iterable[str] = ()) -> None:
    """Set the fields of a record that our own key names.

    Args:
        record: What the properties gave.
        rest: What `difference` gave.
        path: Where it stands, for errors.
        kept: Fields that it must not name: those that come from elsewhere.

    Raises:
        MalformedError: `BAD_FIELD` where a field is not known or cannot hold its value.
    """
    fields = record.DESCRIPTOR.fields_by_name
    for name in rest:
        if name not in fields or name in kept:
            bad(path, "a field is not known to this version, or does not belong here")
        record.ClearField(name)
    try:
        json_format.ParseDict({name: value for name, value in rest.items() if value is not None}, record)
    except (json_format.ParseError, RecursionError, ValueError):
        bad(path, "a field cannot hold its value")
