"""Workbook: the parts of an XLSX file (ECMA-376), and what must be known before the cells of a sheet make sense."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from infoexchange import markup
from infoexchange.bridges.tables import serials, zipped
from infoexchange.errors import Reason, error

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_MAIN = frozenset({MAIN, "http://purl.oclc.org/ooxml/spreadsheetml/main"})  # and the strict form
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
# What a cell of a spreadsheet can hold; Excel calls a file with more damaged.
CELL_MAX = 32_767
# Excel keeps 250 of its user's own.
_FORMATS_MAX = 5000
INDEX = re.compile(r"[0-9]{1,9}")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def refuse(detail: str, field: str = "") -> NoReturn:
    """Refuse a workbook that is damaged."""
    raise error(Reason.MALFORMED, field=field[:100], detail=detail)


def unescaped(text: str) -> str:
    """Return a text in which characters that XML cannot hold stand as they are."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return found[0] if 0xD800 <= number <= 0xDFFF else chr(number)  # half of a surrogate pair is no character


def text_of(element: markup.Element) -> str:
    """Return the text of a cell or a shared text: plain, or in runs; how it is pronounced is no part of it."""
    runs = [element, *element.all("r")]
    return unescaped("".join(text.text for run in runs for text in run.all("t")))


class Workbook:
    """One workbook: which sheets are shown, the texts and formats that cells refer to, and the first day.

    Attributes:
        sheets: Name and place of every sheet that is shown.
        texts: The shared texts.
        dates: Which of the formats of cells show dates.
        since_1904: Whether days are counted from 1904.
    """

    def __init__(self, archive: zipped.Archive) -> None:
        self.archive = archive
        place = next((where for what, where in self._relations("").values() if what == "officeDocument"), "")
        if place not in archive:
            refuse("it is no workbook")
        parts = self._relations(place)
        root = self._tree(place)
        settings = root.one("workbookPr")
        self.since_1904 = settings is not None and settings.attribute("date1904") in {"1", "true"}
        self.sheets = list(_shown(root, parts))
        if not self.sheets:
            refuse("no sheet of the workbook is shown")
        by_use = dict(parts.values())
        self.texts = (
            [text_of(one) for one in self.each(by_use["sharedStrings"], "si")] if "sharedStrings" in by_use else []
        )
        self.dates = self._dates(by_use["styles"]) if "styles" in by_use else []

    def each(self, place: str, name: str) -> Iterator[markup.Element]:
        """Give the elements of a name in a part, one by one."""
        for element in markup.each(self.archive.chunks(place), name):
            if element.namespace in _MAIN:
                yield element

    def _tree(self, place: str) -> markup.Element:
        return markup.parse(b"".join(self.archive.chunks(place)))

    def _relations(self, place: str) -> dict[str, tuple[str, str]]:
        """Return what the parts that a part refers to are for and where they are, by id."""
        folder, slash, file = place.rpartition("/")
        found: dict[str, tuple[str, str]] = {}
        for one in self._tree(f"{folder}{slash}_rels/{file}.rels").all("Relationship"):
            target = one.attribute("Target")
            if one.attribute("TargetMode") != "External":
                where = target[1:] if target.startswith("/") else f"{folder}{slash}{target}"
                found[one.attribute("Id")] = one.attribute("Type").rpartition("/")[2], where
        return found

    def _dates(self, place: str) -> list[bool]:
        root = self._tree(place)
        formats, cells = root.one("numFmts"), root.one("cellXfs")
        custom = formats.all("numFmt") if formats is not None else []
        if len(custom) > _FORMATS_MAX:
            refuse("too many formats of numbers")
        words = {one.attribute("numFmtId"): one.attribute("formatCode") for one in custom}
        shown: dict[str, bool] = {}
        dates = []
        for one in cells.all("xf") if cells is not None else []:
            number = one.attribute("numFmtId")
            if number not in shown:
                shown[number] = serials.is_date(int(number) if INDEX.fullmatch(number) else 0, words.get(number))
            dates.append(shown[number])
        return dates


def _shown(root: markup.Element, parts: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for group in root.all("sheets"):
        for sheet in group.all("sheet"):
            ids = [value for name, value in sheet.attributes.items() if name.startswith("{") and name.endswith("}id")]
            what, where = parts.get(ids[0] if ids else "", ("", ""))
            if what == "worksheet" and sheet.attribute("state") in {"", "visible"}:  # and no chart
                yield sheet.attribute("name")[:100], where
