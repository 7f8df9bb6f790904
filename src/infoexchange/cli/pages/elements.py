"""Elements: the tree a page is built of, and the frame all pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from xml.etree import ElementTree as ET

from infoexchange.spans import Spans

Element = ET.Element
Content = str | int | Element | None | Iterable["Content"]

# Implementation constants
_RANGES_SHOWN = 60  # of one number; a page is for reading, and JSON has them all
# Nothing is fetched and nothing runs, whatever a browser thinks it found in the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_ICON = "data:,"  # without one, browsers ask for /favicon.ico


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element; `class_` and `aria_label` become `class` and `aria-label`."""
    names = {name.rstrip("_").replace("_", "-"): _clean(value) for name, value in attributes.items()}
    made = ET.Element(tag, names)
    _fill(made, content)
    return made


def _fill(parent: Element, content: Iterable[Content]) -> None:
    for item in content:
        if item is None:
            continue
        if isinstance(item, Element):
            parent.append(item)
        elif isinstance(item, str | int):
            text = _clean(str(item))
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + text
            else:
                parent.text = (parent.text or "") + text
        else:
            _fill(parent, item)


def _clean(text: str) -> str:
    """Return text without what no reader sees: control characters, and those that turn the direction of writing."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def document(title: str, header: Content, sections: Sequence[tuple[str, str, Content]], footer: Content) -> bytes:
    """Return a whole page.

    Args:
        title: For the window and the first heading.
        header: What stands below the first heading.
        sections: Name for links, heading and content of each.
        footer: The last words.
    """
    style = (resources.files("infoexchange.cli.pages") / "style.css").read_text("utf-8")
    links = element("ol", [element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in sections])
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href=_ICON),
        element("title", title),
        element("style", style),
    )
    main = [
        element("section", element("h2", heading), content, id=name, class_="part")
        for name, heading, content in sections
    ]
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        element("header", element("h1", title), header),
        element("nav", element("h2", "Contents", id="contents"), links, aria_labelledby="contents"),
        element("main", main, id="main"),
        element("footer", footer),
    )
    page = element("html", head, body, lang="en")
    return f"<!DOCTYPE html>\n{ET.tostring(page, encoding='unicode', method='html')}\n".encode()


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]], **attributes: str) -> Element:
    """Return a table whose first cell of each row is the row's heading; it can be scrolled where it is too wide."""
    head = element("thead", element("tr", [element("th", column, scope="col") for column in columns]))
    lines = [
        element("tr", element("th", row[0], scope="row"), [element("td", cell) for cell in row[1:]]) for row in rows
    ]
    if not lines:
        return element("p", f"{caption}: none.", class_="none")
    grid = element("table", element("caption", caption), head, element("tbody", lines), **attributes)
    return element("div", grid, class_="wide", role="region", aria_label=caption, tabindex="0")


def facts(pairs: Iterable[tuple[str, Content]]) -> Element:
    """Return names and values."""
    return element("dl", [element("div", element("dt", name), element("dd", value)) for name, value in pairs])


def paragraphs(*texts: str) -> list[Element]:
    """Return one paragraph each."""
    return [element("p", text) for text in texts]


def bullets(texts: Iterable[Content]) -> Element:
    """Return a list."""
    return element("ul", [element("li", text) for text in texts])


def entries(spans: Spans) -> Content:
    """Return the entries that a number rests on, to be unfolded."""
    if not spans:
        return "none"
    text = spans.text(_RANGES_SHOWN)
    if len(spans) <= 2:
        return text
    plural = "entry" if spans.count == 1 else "entries"
    return element("details", element("summary", f"{spans.count} {plural}"), element("p", text))


def code(text: str) -> Element:
    """Return a digest, a name or a command."""
    return element("code", text)


def verdict(word: str, sentence: str) -> Element:
    """Return the verdict, told by words and a mark and not by colour alone."""
    marks = {"TOTAL-PASSED": "\N{CHECK MARK}", "TOTAL-FAILED": "\N{BALLOT X}"}
    mark = element("span", marks.get(word, "?"), class_="mark", aria_hidden="true")
    said = element("p", mark, element("strong", word), " ", sentence)
    return element("div", said, class_=f"verdict {word.lower()}")


def checks(rows: Iterable[tuple[str, str, str]], caption: str) -> Element:
    """Return every check with its verdict and finding."""
    marks = {"TOTAL-PASSED": "passed", "TOTAL-FAILED": "FAILED", "INDETERMINATE": "open"}
    cells = [
        (name, element("span", marks[word], class_=f"finding {word.lower()}"), finding) for name, word, finding in rows
    ]
    return table(caption, ("Check", "Verdict", "Finding"), cells, class_="checks")
