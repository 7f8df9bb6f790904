"""Written: messages in files that people read and edit, as JSON or as YAML; the name of the file says which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.errors import Reason, error
from infoexchange.home.files import in_file, read_file, write_new

if TYPE_CHECKING:
    from google.protobuf.message import Message

_YAML = (".yaml", ".yml")


def is_yaml(path: Path) -> bool:
    """Tell whether a file is YAML by its name; every other name stands for JSON."""
    return path.suffix.lower() in _YAML


def read_message(path: Path, schema: str) -> Message:
    """Return the message that a file holds, once every rule holds.

    Raises:
        MalformedError: `MALFORMED` or `BAD_FIELD`, naming file and place.
        RefusedError: `RULE_BROKEN` with the first broken rule.
        UnavailableError: `UNAVAILABLE` when there is no such file.
    """
    from infoexchange.catalogue import text, yaml_text

    raw = read_file(path, next_step="Check the path.")
    with in_file(path):
        return (yaml_text.from_yaml if is_yaml(path) else text.from_json)(schema, decoded(raw))


def write_message(path: Path, message: Message) -> None:
    """Write a message to a new file that its owner alone can read; nothing is checked or hidden."""
    from infoexchange.catalogue import text, yaml_text

    write_new(path, (yaml_text.to_yaml if is_yaml(path) else text.to_json)(message).encode())


def decoded(raw: bytes) -> str:
    """Return the text of a file.

    Raises:
        MalformedError: `MALFORMED` where it is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as problem:
        detail = f"byte {problem.start} is not UTF-8 text"
        raise error(Reason.MALFORMED, detail=detail, next_step="Save the file as UTF-8.") from None
