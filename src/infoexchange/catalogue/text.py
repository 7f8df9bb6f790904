"""Text: messages as JSON for people and local files.

Never a wire form: what is signed travels as protobuf bytes. Field names are those of the `.proto` files, so that an
error, a file and the specification say the same word.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from infoexchange import catalogue
from infoexchange.catalogue import rules
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

# How protobuf's reader words its complaints; tests fail when a new version words them otherwise. Places are taken from
# the ends of a complaint only: in between stand values of the text, and an error names places, never content.
_NAMES = re.compile(r"(?:Failed to parse \w+ field: )*")
_UNKNOWN = re.compile(r'has no field named "([^"]*)"')
_PATH = re.compile(r""" at "?\w+((?:\.\w+(?:\[\d+\])?)*)"?\.*(?:\n|$)""")
_NAME_MAX = 200
_NOT_READABLE = "the text is nested too deeply or holds a value JSON does not have"


def to_json(message: Message) -> str:
    """Return a message as indented JSON; nothing is checked, so that a draft can be kept."""
    from google.protobuf import json_format

    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=2, ensure_ascii=False)


def from_json(schema: str, text: str) -> Message:
    """Return the message that JSON describes, once every rule holds.

    Args:
        schema: Name of the message type.
        text: JSON with the field names of the `.proto` files; their lowerCamelCase form is understood too.

    Raises:
        MalformedError: `MALFORMED` where it is no JSON, `BAD_FIELD` where a field is unknown or cannot hold its value.
        RefusedError: `RULE_BROKEN` with the first broken rule.
    """
    message = draft_from_json(schema, text)
    rules.check(message)
    return message


def draft_from_json(schema: str, text: str) -> Message:
    """Return the message that JSON describes, before any rule is checked: for forms that are filled in bit by bit.

    Raises:
        MalformedError: As `from_json`.
    """
    from google.protobuf import json_format

    message = catalogue.message_type(schema)()
    # protobuf's reader takes an empty list for an empty message.
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        raise error(Reason.MALFORMED, field="line 1", detail="a message in JSON begins with {")
    try:
        json_format.Parse(text, message)
    except json_format.ParseError as refused:
        raise _explain(text, str(refused)) from None
    except (RecursionError, UnicodeError, ValueError):
        raise error(Reason.MALFORMED, detail=_NOT_READABLE) from None
    return message


def _explain(text: str, complaint: str) -> ExchangeError:
    """Return the typed error for a complaint of protobuf's reader."""
    try:
        json.loads(text)
    except json.JSONDecodeError as broken:
        return error(Reason.MALFORMED, field=f"line {broken.lineno}", detail=f"not JSON: column {broken.colno}")
    except (RecursionError, ValueError):
        return error(Reason.MALFORMED, detail=_NOT_READABLE)
    names = re.findall(r"parse (\w+) field", _NAMES.match(complaint)[0])  # type: ignore[index]  # the pattern matches anything
    path = ".".join(names)
    for found in _PATH.finditer(complaint):
        # Taken only if it says the same as the names, with indexes.
        if re.sub(r"\[\d+\]", "", found[1]).lstrip(".") == path:
            path = found[1].lstrip(".")
    unknown = _UNKNOWN.search(complaint)
    if unknown:
        return error(
            Reason.BAD_FIELD,
            field=f"{path}.{unknown[1]}".lstrip(".")[:_NAME_MAX],
            detail="the message type has no such field",
            next_step="Correct the name or take the field out; `infoexchange types TYPE` lists the fields.",
        )
    return error(Reason.BAD_FIELD, field=path[:_NAME_MAX], detail="the field cannot hold this value")
