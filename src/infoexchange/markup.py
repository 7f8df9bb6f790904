"""Markup: XML of others read into a small tree of bounded size, and trees written as XML.

The one place where the library touches XML. A document with a DOCTYPE is refused, and with it every entity but the
five of XML itself: nothing is fetched, nothing is expanded. What a reader never asked for can be listed afterwards, so
that no bridge drops a part of a file in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from xml.parsers import expat

from infoexchange.errors import ExchangeError, Reason, error

# The longest list of sanctions and the largest report of transactions that are published stay well below.
SIZE_MAX = 32 * 1024 * 1024
# A tree of this many elements takes some 170 MiB; a message holds far fewer records.
ELEMENTS_MAX = 500_000
# Read one by one they take time and no memory: half a minute at most.
ELEMENTS_EACH_MAX = 6_000_000
# Formats of agencies and banks nest about 15 deep.
DEPTH_MAX = 64
ATTRIBUTES_MAX = 64
NAME_MAX = 200
# No text field of the catalogue is longer than 100 000 characters.
TEXT_MAX = 1_000_000
# The document must begin within this: whatever stands before it is parsed apart, so that a DOCTYPE is seen before
# anything it defines could be used.
_HEAD = 64 * 1024

# No XML 1.0 document can hold this character, so it parts a namespace from a name without doubt.
_PART = "\x1f"
_SCHEMA_HINTS = "http://www.w3.org/2001/XMLSchema-instance"
# Every reader of XML knows these; texts in other encodings are read wrongly more often than rightly.
_ENCODINGS = frozenset({"UTF-8", "UTF-16", "US-ASCII", "ASCII"})
# They say how to show or check the document, nothing about what it says.
_IDLE_INSTRUCTIONS = frozenset({"xml-stylesheet", "xml-model"})
# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_DOCTYPE = "Ask for the file without DOCTYPE and entities; they are never read."


class Element:
    """One element: its name, attributes, text and children, and the line it begins on.

    What was asked for is remembered: `unread` lists the rest.

    Attributes:
        name: Name without its prefix.
        namespace: Namespace of the name, empty where it has none.
        attributes: Values by name; `{namespace}name` where an attribute has a namespace.
        children: The elements in it, in order.
        line: Line of the file it begins on, from 1; 0 for an element that was made here.
    """

    __slots__ = ("_asked", "_is_found", "_is_text_read", "_text", "attributes", "children", "line", "name", "namespace")

    def __init__(self, name: str, namespace: str = "", *, line: int = 0) -> None:
        self.name = name
        self.namespace = namespace
        self.line = line
        self.attributes: dict[str, str] = {}
        self.children: list[Element] = []
        self._text = ""
        self._asked: set[str] | None = None
        self._is_found = False
        self._is_text_read = False

    @property
    def text(self) -> str:
        """The text directly in this element, as it stands."""
        self._is_text_read = True
        return self._text

    @property
    def words(self) -> str:
        """The text with every run of white space as one space, and none at the ends."""
        return " ".join(self.text.split())

    @property
    def place(self) -> str:
        """Where the element stands, as notes and errors say it."""
        return f"line {self.line}"

    # Reading

    def all(self, name: str, namespace: str | None = None) -> list[Element]:
        """Return the children of this name, in the element's own namespace where no other is given."""
        namespace = self.namespace if namespace is None else namespace
        found = [child for child in self.children if child.name == name and child.namespace == namespace]
        for child in found:
            child._is_found = True
        return found

    def one(self, name: str) -> Element | None:
        """Return the child of this name, or None.

        Raises:
            MalformedError: `BAD_FIELD` where there are several.
        """
        found = self.all(name)
        if len(found) > 1:
            raise found[1].refused("the element stands more than once")
        return found[0] if found else None

    def walk(self, *names: str) -> Element | None:
        """Return what lies below one child after another, or None.

        Raises:
            MalformedError: `BAD_FIELD` as `one`.
        """
        found: Element | None = self
        for name in names:
            found = found.one(name) if found is not None else None
        return found

    def value(self, *names: str) -> str:
        """Return the words of what lies below one child after another, nothing where it is not there.

        Raises:
            MalformedError: `BAD_FIELD` as `one`.
        """
        found = self.walk(*names)
        return found.words if found is not None else ""

    def attribute(self, name: str) -> str:
        """Return the value of an attribute, nothing where it is not there."""
        self._asked = self._asked or set()
        self._asked.add(name)
        return self.attributes.get(name, "")

    def skip(self, *names: str) -> None:
        """Take the children of these names, with everything in them, as asked for: parts left out knowingly."""
        for name in names:
            for child in self.all(name):
                child.take()

    def take(self) -> None:
        """Take everything in this element as asked for."""
        self._is_text_read, self._asked = True, set(self.attributes)
        for child in self.children:
            child._is_found = True
            child.take()

    def unread(self) -> Iterator[tuple[str, str]]:
        """Give place and path of everything in this element that nobody asked for and that says something."""
        yield from self._unread("")

    def _unread(self, path: str) -> Iterator[tuple[str, str]]:
        for name in self.attributes:
            if name not in (self._asked or ()):
                yield self.place, f"{path}@{name}"
        if self._text.strip() and not self._is_text_read:
            yield self.place, f"{path}text()"
        for child in self.children:
            below = f"{path}{child.name}"
            if child._is_found:
                yield from child._unread(f"{below}/")
            elif not child.is_blank():
                yield child.place, below

    def is_blank(self) -> bool:
        """Tell whether neither this element nor anything below it says something."""
        return not self.attributes and not self._text.strip() and all(child.is_blank() for child in self.children)

    def refused(self, detail: str) -> ExchangeError:
        """Return the error for an element that cannot be read, ready to raise."""
        return error(Reason.BAD_FIELD, field=f"{self.place}: {self.name}", detail=detail)

    # Making

    def add(self, name: str, text: str = "", attributes: Mapping[str, str] | None = None) -> Element:
        """Add a child in the same namespace and return it."""
        child = Element(name, self.namespace)
        child._text = text
        child.attributes.update(attributes or {})
        self.children.append(child)
        return child

    def put(self, name: str, text: str) -> None:
        """Add a child with a text; none where there is no text."""
        if text:
            self.add(name, text)


def parse(raw: bytes) -> Element:
    """Return the root of an XML document.

    Args:
        raw: The document: XML 1.0 in UTF-8 or UTF-16, at most `SIZE_MAX` bytes.

    Raises:
        MalformedError: `MALFORMED` with the line: no XML, a DOCTYPE, an entity, a processing instruction that is not
            about display, another encoding.
        RefusedError: `TOO_LARGE` with the line where a bound of this module is passed.
    """
    if len(raw) > SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(raw)} bytes of XML, at most {SIZE_MAX}")
    reader = _Reader()
    try:
        reader.feed(memoryview(raw))
    except expat.ExpatError as broken:
        raise _not_xml(broken) from None
    assert reader.root is not None
    return reader.root


def each(pieces: Iterable[bytes], name: str) -> Iterator[Element]:
    """Give every element of a name as it is read, and keep nothing else: for documents too large for a tree.

    Args:
        pieces: The document in pieces of at most 64 KiB, so that it need not be in memory as a whole.
        name: Name of the elements; one inside another one is a part of it.

    Raises:
        MalformedError: As `parse`; while iterating.
        RefusedError: `TOO_LARGE` as `parse`, with `ELEMENTS_EACH_MAX` elements in all.
    """
    reader = _Reader(name)
    try:
        for piece in pieces:
            reader.parser.Parse(piece, False)
            if reader.root is None:
                raise reader.malformed(f"no element begins in the first {_HEAD} bytes")
            yield from reader.done
            reader.done.clear()
        reader.parser.Parse(b"", True)
        yield from reader.done
    except expat.ExpatError as broken:
        raise _not_xml(broken) from None


def _not_xml(broken: expat.ExpatError) -> ExchangeError:
    detail = f"not XML: {expat.ErrorString(broken.code)}"
    return error(Reason.MALFORMED, field=f"line {broken.lineno}", detail=detail)


class _Reader:
    """One document being read: the elements that are open, and what was counted up to now."""

    def __init__(self, wanted: str = "") -> None:
        # What `each` looks for, the one being read, the number of its first element, and those that are complete.
        self.wanted = wanted
        self.inside: Element | None = None
        self.began = 0
        self.done: list[Element] = []
        self.root: Element | None = None
        self.open: list[Element] = []
        self.pieces: list[list[str]] = []
        self.lengths: list[int] = []
        self.count = 0
        self.parser = parser = expat.ParserCreate(namespace_separator=_PART)
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self.declared
        parser.StartDoctypeDeclHandler = self.doctype
        parser.EntityDeclHandler = self.doctype
        parser.ProcessingInstructionHandler = self.instruction
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters

    def feed(self, data: memoryview) -> None:
        """Parse the head apart, then the rest: after a refusal expat still looks through what it was given."""
        head, rest = data[:_HEAD], data[_HEAD:]
        self.parser.Parse(head, not rest)
        if rest:
            if self.root is None:
                raise self.malformed(f"no element begins in the first {_HEAD} bytes")
            self.parser.Parse(rest, True)

    def malformed(self, detail: str, next_step: str = "") -> ExchangeError:
        place = f"line {self.parser.CurrentLineNumber}"
        return error(Reason.MALFORMED, field=place, detail=detail, next_step=next_step)

    def check(self, count: int, most: int, what: str) -> None:
        if count > most:
            place = f"line {self.parser.CurrentLineNumber}"
            raise error(Reason.TOO_LARGE, field=place, detail=f"more than {most} {what}")

    def declared(self, version: str, encoding: str | None, _: int) -> None:
        if version != "1.0":
            raise self.malformed("only XML 1.0 is read")
        if encoding is not None and encoding.upper() not in _ENCODINGS:
            raise self.malformed("the text is in an encoding that is not read", "Convert the file to UTF-8.")

    def doctype(self, *_: object) -> None:
        raise self.malformed("a DOCTYPE is not read", _NO_DOCTYPE)

    def instruction(self, target: str, _: str) -> None:
        if target not in _IDLE_INSTRUCTIONS:
            raise self.malformed("a processing instruction is not read")

    def start(self, name: str, attributes: list[str]) -> None:
        self.count += 1
        self.check(self.count - self.began, ELEMENTS_MAX, "elements")
        self.check(self.count, ELEMENTS_EACH_MAX, "elements")
        self.check(len(self.open) + 1, DEPTH_MAX, "elements inside one another")
        self.check(len(attributes), 2 * ATTRIBUTES_MAX, f"names and values of attributes, {ATTRIBUTES_MAX} of each")
        namespace, local = self.parted(name)
        element = Element(local, namespace, line=self.parser.CurrentLineNumber)
        if self.wanted and self.inside is None:
            self.began = self.count
            self.inside = element if local == self.wanted else None
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            self.check(len(value), TEXT_MAX, "characters in an attribute")
            space, own = self.parted(key)
            # Where a schema may lie is nothing the document says, and it is never fetched.
            if space != _SCHEMA_HINTS or not own.lower().endswith("schemalocation"):
                element.attributes[f"{{{space}}}{own}" if space else own] = value
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        self.pieces.append([])
        self.lengths.append(0)

    def parted(self, name: str) -> tuple[str, str]:
        """Return namespace and name."""
        namespace, _, local = name.rpartition(_PART)
        self.check(len(local), NAME_MAX, "characters in a name")
        self.check(len(namespace), 10 * NAME_MAX, "characters in a namespace")
        return namespace, local

    def characters(self, text: str) -> None:
        self.lengths[-1] += len(text)
        self.check(self.lengths[-1], TEXT_MAX, "characters of text in one element")
        self.pieces[-1].append(text)

    def end(self, _: str) -> None:
        element, text = self.open.pop(), "".join(self.pieces.pop())
        self.lengths.pop()
        # Between children stands layout, unless somebody wrote words there.
        element._text = "" if element.children and not text.strip() else text
        if element is self.inside:
            self.done.append(element)
            self.inside = None
        if self.wanted and self.inside is None and self.open:
            self.open[-1].children.clear()


def write(root: Element) -> bytes:
    """Return a tree as an XML document in UTF-8: the same tree gives the same bytes.

    Raises:
        RefusedError: `RULE_BROKEN` with the name of the element where a text holds what XML cannot.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', *_lines(root, "", "")]
    return "\n".join([*lines, ""]).encode()


def _lines(element: Element, above: str, indent: str) -> Iterator[str]:
    """Give the lines of an element; one without children stands on one line with its text."""
    head = element.name
    if element.namespace != above:
        head += f' xmlns="{_escaped(element.namespace, element.name, is_attribute=True)}"'
    for name, value in element.attributes.items():
        assert not name.startswith("{"), "attributes are written without a namespace"
        head += f' {name}="{_escaped(value, element.name, is_attribute=True)}"'
    text = element._text
    if not element.children:
        body = _escaped(text, element.name)
        yield f"{indent}<{head}>{body}</{element.name}>" if body else f"{indent}<{head}/>"
        return
    assert not text, "an element is written with text or with children"
    yield f"{indent}<{head}>"
    for child in element.children:
        yield from _lines(child, element.namespace, f"{indent} ")
    yield f"{indent}</{element.name}>"


# A reader makes a line feed of a carriage return, and a space of any of them in an attribute.
_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ATTRIBUTE_ESCAPES = _ESCAPES | {ord('"'): "&quot;", ord("\n"): "&#10;", ord("\t"): "&#9;"}


def _escaped(text: str, name: str, *, is_attribute: bool = False) -> str:
    """Return a text as it stands in XML."""
    if _FORBIDDEN.search(text):
        detail = "a control character, which XML cannot hold"
        raise error(Reason.RULE_BROKEN, field=name, detail=detail, next_step="Take it out of the text.")
    return text.translate(_ATTRIBUTE_ESCAPES if is_attribute else _ESCAPES)
