"""Spreadsheet: tables as XLSX: the first sheet that is shown, as rows of texts, and rows as a sheet.

Nothing of a workbook is looked at but the cells of one sheet. Formulas are not computed; what was last computed counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from infoexchange import markup
from infoexchange.bridges.tables import serials, zipped
from infoexchange.bridges.tables.comma import Sheet
from infoexchange.bridges.tables.workbook import CELL_MAX, INDEX, MAIN, OFFICE, Workbook, refuse, text_of, unescaped
from infoexchange.errors import Reason, error

START = zipped.START
_COLUMNS_MAX = 500
# Cells share texts, so a small file can say one long text a million times.
_SAID_MAX = 256 * 1024 * 1024
_CELL = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,18})?")
_ROW_NUMBER = re.compile(r"[0-9]{1,7}")
# What XML cannot hold, what its readers change, and what would be taken for an escape.
_TO_ESCAPE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def read(data: bytes) -> Sheet:
    """Return the cells of the first sheet that is shown; rows are read as they are iterated.

    Raises:
        MalformedError: `MALFORMED` with the line of the part, or the row; at once or while iterating.
        RefusedError: `TOO_LARGE` beyond the limits.
    """
    workbook = Workbook(zipped.Archive.parse(data))
    (_, place), *others = workbook.sheets
    rows = _rows(workbook, place)
    where, head = next(rows, ("row 1", []))
    notes = tuple((f"sheet {name}", "sheet", "only the first sheet is read") for name, _ in others)
    return Sheet(where, head, rows, notes, is_grid=True)


def _rows(workbook: Workbook, place: str) -> Iterator[tuple[str, list[str]]]:
    """Give place and cells of every row that says something."""
    number = said = 0
    for row in workbook.each(place, "row"):
        stated = row.attribute("r")
        number = int(stated) if _ROW_NUMBER.fullmatch(stated) else number + 1
        cells: dict[int, str] = {}
        column = -1
        for cell in row.all("c"):
            found = _CELL.fullmatch(cell.attribute("r"))
            column = _column(found[1]) if found else column + 1
            text = _said(workbook, cell, number)
            said += len(text)
            if text and column < _COLUMNS_MAX:
                cells[column] = text
        if said > _SAID_MAX:
            detail = f"cells of more than {_SAID_MAX} characters"
            raise error(Reason.TOO_LARGE, field=f"row {number}", detail=detail, next_step=zipped.AS_CSV)
        if cells:
            yield f"row {number}", [cells.get(column, "") for column in range(max(cells) + 1)]


def _said(workbook: Workbook, cell: markup.Element, number: int) -> str:
    """Return what a cell says."""
    kind = cell.attribute("t")
    inline, value = cell.one("is"), cell.one("v")
    text = text_of(inline) if inline is not None else value.text if value is not None else ""
    if len(text) > CELL_MAX * 4:  # four times what Excel holds, for what other programs write
        refuse("a cell is too long", f"row {number}")
    if not text or kind == "inlineStr":
        return text
    if kind == "s":
        if not INDEX.fullmatch(text) or int(text) >= len(workbook.texts):
            refuse("a cell names a text that is not there", f"row {number}")
        return workbook.texts[int(text)]
    if kind == "b":
        return "yes" if text == "1" else "no"
    if kind not in {"", "n"}:
        return unescaped(text)
    style = cell.attribute("s")
    shown = int(style) if INDEX.fullmatch(style) else 0
    if shown < len(workbook.dates) and workbook.dates[shown]:
        return serials.moment(text, since_1904=workbook.since_1904)
    return serials.number(text)


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _letters(place: int) -> str:
    text = ""
    while place >= 0:
        text, place = chr(65 + place % 26) + text, place // 26 - 1
    return text


def said(cell: str) -> str:
    """Return what a cell says."""
    return cell.strip()


_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_RELATIONS_KIND = "application/vnd.openxmlformats-package.relationships+xml"
_SHEET = "xl/worksheets/sheet1.xml"


def write(head: Iterable[str], numbers: frozenset[int], rows: Iterable[list[str]]) -> bytes:
    """Return a workbook with one sheet.

    Args:
        head: The names of the columns.
        numbers: Places of the columns that hold numbers; a number that a spreadsheet would write otherwise stays text.
        rows: The cells. Text is never run, whatever it begins with.

    Raises:
        RefusedError: `TOO_LARGE` where a cell, or the table, is larger than a spreadsheet may be.
    """
    sheet = markup.Element("worksheet", MAIN)
    # The pane keeps the names of the columns in sight.
    view = sheet.add("sheetViews").add("sheetView", attributes={"workbookViewId": "0"})
    pane = {"ySplit": "1", "topLeftCell": "A2", "activePane": "bottomLeft", "state": "frozen"}
    view.add("pane", attributes=pane)
    cells = sheet.add("sheetData")
    _add_row(cells, 1, list(head), frozenset())
    for number, row in enumerate(rows, 2):
        _add_row(cells, number, row, numbers)
    return zipped.pack({name: markup.write(root) for name, root in _around().items()} | {_SHEET: markup.write(sheet)})


def _around() -> dict[str, markup.Element]:
    """Return the parts of a workbook beside its one sheet."""
    types = markup.Element("Types", f"{_PACKAGE}/content-types")
    types.add("Default", attributes={"Extension": "rels", "ContentType": _RELATIONS_KIND})
    for part, kind in (("xl/workbook.xml", "sheet.main"), (_SHEET, "worksheet")):
        types.add("Override", attributes={"PartName": f"/{part}", "ContentType": f"{_KIND}.{kind}+xml"})
    workbook = markup.Element("workbook", MAIN)
    workbook.attributes["xmlns:r"] = OFFICE
    workbook.add("bookViews").add("workbookView")
    workbook.add("sheets").add("sheet", attributes={"name": "table", "sheetId": "1", "r:id": "rId1"})
    return {
        "[Content_Types].xml": types,
        "_rels/.rels": _relation("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": workbook,
        "xl/_rels/workbook.xml.rels": _relation("worksheet", "worksheets/sheet1.xml"),
    }


def _relation(kind: str, target: str) -> markup.Element:
    root = markup.Element("Relationships", f"{_PACKAGE}/relationships")
    root.add("Relationship", attributes={"Id": "rId1", "Type": f"{OFFICE}/{kind}", "Target": target})
    return root


def _add_row(cells: markup.Element, number: int, row: list[str], numbers: frozenset[int]) -> None:
    line = cells.add("row", attributes={"r": str(number)})
    for place, text in enumerate(row):
        where = f"{_letters(place)}{number}"
        if len(text) > CELL_MAX:
            detail = f"a cell of a spreadsheet holds {CELL_MAX} characters"
            raise error(Reason.TOO_LARGE, field=where, detail=detail, next_step="Write the table as CSV.")
        if place in numbers and _is_number(text):
            line.add("c", attributes={"r": where}).add("v", text)
        elif text:
            inside = _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
            line.add("c", attributes={"r": where, "t": "inlineStr"}).add("is").add("t", inside)


def _is_number(text: str) -> bool:
    """Tell whether a text is a number that is read back with the same digits."""
    return bool(_NUMBER.fullmatch(text)) and serials.number(text) == text
