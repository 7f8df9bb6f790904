"""Tables of forms: which column of a foreign file is which field, for people.

Writes docs/bridges/geographic.md and docs/bridges/htcds.md from the forms and the losses of their bridges; with
--check, only says whether they are up to date.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from infoexchange import bridges
from infoexchange.catalogue import forms

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "bridges"
_MADE = """Made by `python tools/tables_of_forms.py` from `src/infoexchange/catalogue/maps/` and the bridges; a test
fails when it is not up to date. Why it is so: decision 0026.

"""
_GEOGRAPHIC = """**No real sample of an IMSMA Core table or of an ArcGIS answer with mine action data was to be had.**
Names of columns are those of public forms where there are any, and this project's own elsewhere. Compare them with a
file of your office before you rely on them, and give a form of your own where they differ:

```python
from infoexchange.bridges.geographic import imsma
from infoexchange.catalogue.forms import Form

own = Form.parse(open("our-hazards.csv", encoding="utf-8"))  # begin with a copy of maps/hazard.csv
reading = imsma.read(table, handling, now=now, forms=[own])
```

A form takes the place of the packaged one for its message type, in `read` and in `write`, for GeoJSON, ArcGIS and
IMSMA. Packaged ones: `infoexchange send FILE --format geojson ...`, `--format arcgis`, `--format imsma`.

* **Marks** stand in a column or property `marks`, for example `TLP:AMBER | OP_STATUS:EXERCISE`; in GeoJSON also as a
  list, and at the head of the file for all features. `tlp` and `pap` of other people's files count too. What is marked
  stricter than the person who imports says is refused, and so is a mark that nobody understands.
* **Shapes** are WGS 84, longitude first. In GeoJSON and ArcGIS the geometry carries one of the fields marked ⌖, in
  IMSMA they are columns. Another reference system is refused.
* **Tables** are CSV in UTF-8, with commas, semicolons or tabs between cells; commas are written.
* **Columns** are found by name, in any case. A cell that is not understood is left out with a note that names line and
  column; the rest of its row counts. An empty cell says nothing.
* **Lists** are separated by `; `, or are JSON. **Records** (marked JSON) have the field names of the `.proto` files.
* **Dates** are 2026-02-01, 2026-02 or 2026; 2026-02~ is about then, 2026-01/2026-03 between, `unknown` not known. A
  note follows in brackets. Milliseconds since 1970, as ArcGIS writes dates, are understood. 2/1/2026 is not: nobody
  knows which of the two is the month.
* A cell that a spreadsheet would run begins with a quote, which reading takes away.

"""
_HTCDS = """`infoexchange send FILE --format htcds ...`, or `bridges.find("htcds")`: one row is one referral. A victim
travels by pseudonym (decision 0021). Columns of identity are refused: a note names them, their values are never read.
Free text is read, and a note reminds to look for names in it. Without consent nothing is written; a row without it is
read as a draft with a note. HTCDS has no field for the number of a referral and for a pseudonym: they stand in columns
of our own, named `x_`, like everything else it has no field for. No small numbers are suppressed here (k-anonymity):
that is for whoever publishes a table.

* **Marks** stand in a column `marks`, for example `TLP:AMBER+STRICT | RESTRICTION:NO_ONWARD`. What is marked stricter
  than the person who imports says is refused.
* The table is CSV in UTF-8, with commas, semicolons or tabs between cells; commas are written.
* **Lists** are separated by `; `. **Dates** are 2026-02-01, 2026-02~ (about), 2026-01/2026-03 (between), unknown.

Human Trafficking Case Data Standard (HTCDS) by IOM, CC BY 4.0. Its use here does not mean that IOM endorses it.

"""
_PAGES = {
    "geographic": (
        "GeoJSON, ArcGIS and IMSMA Core", _GEOGRAPHIC, ("geojson", "arcgis", "imsma"),
        ("hazard", "release", "accident", "eore", "incident"),
    ),
    "htcds": ("HTCDS 2.0", _HTCDS, ("htcds",), ("htcds",)),
}  # fmt: skip
_SHAPES = ("polygon", "results[].polygon", "location.geometry", "location.point", "position.", "location.point.")


def pages() -> dict[Path, str]:
    """Return the pages by the files they stand in."""
    return {FOLDER / f"{name}.md": _page(*parts) for name, parts in _PAGES.items()}


def _page(title: str, head: str, formats: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return one page."""
    parts = [f"# {title}\n\n{_MADE}{head}"]
    for name in formats:
        found = bridges.find(name)
        losses = "".join(f"* {loss}\n" for loss in found.losses)
        parts.append(f"## `{name}`: what is lost\n\n{found.title}. Never lost: marks.\n\n{losses}\n")
    for name in names:
        parts.extend(_table(forms.load(name)))
    return "".join(parts).rstrip() + "\n"


def _table(form: forms.Form) -> Iterator[str]:
    """Give the table of one form."""
    yield f"## Form `{form.name}` {form.version}: {form.message_type.DESCRIPTOR.name}\n\n{form.source}.\n\n"
    yield "| column | other names read | field | words | meaning |\n|---|---|---|---|---|\n"
    known = _words(form)
    for column in form.columns:
        others = ", ".join(f"`{name}`" for name in column.names[1:])
        words = [word.replace("=", " = ") for word in known[column.name, column.path]]
        words += [f"list `{column.code_list}`"] if column.code_list else []
        words += [f"else {column.default.replace('@now', 'the time of reading')}"] if column.default else []
        field = f"`{column.path}`" + (" ⌖" if column.path.startswith(_SHAPES) else "")
        kind = "JSON" if column.is_record and not column.meaning.startswith(("JSON", "own column, JSON")) else ""
        meaning = "; ".join(filter(None, (kind, column.meaning)))
        yield f"| `{column.name}` | {others} | {field} | {', '.join(words)} | {meaning} |\n"
    yield "\n"
    reasons: dict[str, list[str]] = {}
    for name, why in form.never.items():
        reasons.setdefault(why, []).append(f"`{name}`")
    for why, names in reasons.items():
        yield f"* Never read: {', '.join(names)}: {why}.\n"
    yield "\n" if reasons else ""


def _words(form: forms.Form) -> dict[tuple[str, str], list[str]]:
    """Return the words of each column as the form writes them, theirs=ours."""
    file = files("infoexchange.catalogue").joinpath("maps", f"{form.name}.csv")
    rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))[2:]
    return {(row[0], row[1]): [word for word in row[3].split("|") if "=" in word] for row in rows}


def main() -> int:
    """Write the pages, or check them."""
    if "--check" in sys.argv[1:]:
        return 0 if all(file.read_text(encoding="utf-8") == text for file, text in pages().items()) else 1
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
