"""Lines: many messages in one file, each on a line of its own as JSON: {"type": ..., "message": {...}}.

For what comes out of the files of others and goes into them. Never a wire form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoexchange.catalogue import strict_json, text
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MEMBERS = {"type", "message"}


def to_line(message: Message) -> str:
    """Return a message as one line, with its end; nothing is checked."""
    from google.protobuf import json_format

    found = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps({"type": message.DESCRIPTOR.name, "message": found}, ensure_ascii=False) + "\n"


def from_lines(data: bytes) -> Iterator[Message]:
    """Give the messages of a file, read line by line as they are iterated, each once every rule holds for it.

    Raises:
        MalformedError: `MALFORMED`, `BAD_FIELD` or `UNKNOWN_VERSION` with the line, while iterating.
        RefusedError: `RULE_BROKEN` with the line and the first broken rule, while iterating.
    """
    start, number = 0, 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        line, start, number = data[start:end], end, number + 1
        if line.strip():
            yield _message(line, f"line {number}")


def _message(line: bytes, place: str) -> Message:
    try:
        found = strict_json.load(line)
        if not isinstance(found, dict) or found.keys() != _MEMBERS or not isinstance(found["type"], str):
            raise error(Reason.MALFORMED, detail='a line is {"type": ..., "message": {...}}')
        return text.from_json(found["type"], json.dumps(found["message"]))
    except RecursionError:
        raise error(Reason.MALFORMED, field=place, detail="nested too deeply") from None
    except ExchangeError as refused:
        # JSON of one line has no lines of its own.
        field = place if refused.field.startswith("line ") or not refused.field else f"{place}: {refused.field}"
        raise error(refused.reason, field=field, detail=refused.detail, next_step=refused.next_step) from None
