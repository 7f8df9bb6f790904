"""Plain YAML: a tree of names, lists and texts from a small part of YAML, with the line of everything.

Of YAML only what a person writes in a form is taken: block and flow mappings, sequences and scalars. What makes YAML
dangerous or surprising is refused by its line: anchors, aliases and merges (a few lines that grow to gigabytes), tags
(which name types of programs), several documents, directives, names that stand twice. And nothing is guessed from a
value's looks: a scalar stays the text that was written, so NO is not false and 1:30 is not 90. What it means is decided
by the field it is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infoexchange.errors import ExchangeError, Reason, error

# Deeper than any message of the catalogue, whose parts never contain themselves.
DEPTH_MAX = 32
# Four times the content of a message, which is at most 1 MiB: room for comments and for names of fields.
LENGTH_MAX = 4 * 1024 * 1024

# Names and values together: what a message of 1 MiB has whose values take five bytes each. Bounds the work, as a text
# may consist of little else than commas.
NODES_MAX = 200_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as it was written; `quoted` tells whether it stood in quotes or in a block."""

    line: int
    text: str
    quoted: bool

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was written: a name with its colon and no value."""
        return not self.text and not self.quoted


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    line: int
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Nodes by name, in the order in which they were written."""

    line: int
    items: dict[str, Node]


Node = Scalar | Sequence | Mapping


def parse(text: str) -> Mapping:
    """Return what a text in plain YAML holds.

    Raises:
        MalformedError: `MALFORMED` with the line, where the text is no YAML or uses what is refused here.
        RefusedError: `TOO_LARGE`.
    """
    import yaml

    if len(text) > LENGTH_MAX:
        raise _too_large(f"{len(text)} characters, at most {LENGTH_MAX}")
    try:
        events = _checked(yaml.parse(text.removeprefix("\ufeff"), Loader=_loader()))
        first = next(events, None)
        if not isinstance(first, yaml.MappingStartEvent):
            raise _refusal(1, "a message in YAML begins with the name of a field and a colon")
        tree = _mapping(first, events)
        for _ in events:  # to the end, so that what stands behind the message is refused too
            pass
    except UnicodeError:  # half of a surrogate pair, which Python's texts can hold and no encoding can
        raise _refusal(1, "not YAML: it holds a character that no text has") from None
    except yaml.YAMLError as refused:
        raise _refusal(_line_of(refused), "not YAML: " + _problem_of(refused)) from None
    return tree


def _loader() -> Any:
    """Return the reader of libyaml where it is there; both give the same events, and neither builds an object."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _checked(events: Iterator[Any]) -> Iterator[Any]:
    """Give what stands in the one document, and refuse whatever more YAML can do."""
    import yaml

    documents = depth = nodes = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal(line, "a file holds one message, this is a second document")
            if event.version or event.tags:
                raise _refusal(line, "directives are not taken")
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                raise _refusal(line, "anchors and aliases are not taken; write it out")
            if getattr(event, "tag", None) is not None:
                raise _refusal(line, "tags are not taken; the field decides what a value is")
            depth += isinstance(event, yaml.CollectionStartEvent)
            if depth > DEPTH_MAX:
                raise _refusal(line, "nested too deeply")
            nodes += 1
            if nodes > NODES_MAX:
                raise _too_large(f"more than {NODES_MAX} names and values")
            yield event
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            yield event


def _node(event: Any, events: Iterator[Any]) -> Node:
    import yaml

    line = event.start_mark.line + 1
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(line, event.value, bool(event.style))
    if isinstance(event, yaml.SequenceStartEvent):
        found: list[Node] = []
        for item in events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            found.append(_node(item, events))
        return Sequence(line, found)
    return _mapping(event, events)


def _mapping(event: Any, events: Iterator[Any]) -> Mapping:
    import yaml

    found: dict[str, Node] = {}
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarEvent) or not _NAME.fullmatch(key.value):
            raise _refusal(line, "what stands before the colon is not the name of a field")
        if key.value in found:
            raise _refusal(line, "this name stands twice in the same place")
        found[key.value] = _node(next(events), events)
    return Mapping(event.start_mark.line + 1, found)


def _refusal(line: int, detail: str) -> ExchangeError:
    step = "Correct that line; `infoexchange new TYPE --out FILE.yaml` writes a form to fill in."
    return error(Reason.MALFORMED, field=f"line {line}", detail=detail, next_step=step)


def _too_large(detail: str) -> ExchangeError:
    return error(Reason.TOO_LARGE, field="text", detail=detail, next_step="Send what is long as an attachment.")


def _line_of(refused: Any) -> int:
    mark = getattr(refused, "problem_mark", None)
    return mark.line + 1 if mark else 1


def _problem_of(refused: Any) -> str:
    """Return what the reader complains of, which names signs and never values."""
    import yaml

    if isinstance(refused, yaml.reader.ReaderError):
        return "it holds a character that no text has"
    return str(getattr(refused, "problem", None) or "it cannot be read")
