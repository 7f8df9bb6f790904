"""Tables of forms: which column of a foreign file is which field, for people.

Writes docs/bridges-by-forms.md from the forms and the losses of their bridges; with --check, only says whether it is up
to date.
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
PAGE = ROOT / "docs" / "bridges-by-forms.md"
FORMATS = ("geojson", "arcgis", "imsma", "htcds")
_HEAD = """# Bridges by forms: GeoJSON, ArcGIS, IMSMA Core, HTCDS

Made by `python tools/tables_of_forms.py` from `src/infoexchange/catalogue/maps/` and the bridges; a test fails when it
is not up to date. Why it is so: decision 0026.

**No real sample of an IMSMA Core table or of an ArcGIS answer with mine action data was to be had.** Names of columns
are those of public forms where there are any, and this project's own elsewhere. Compare them with a file of your office
before you rely on them, and give a form of your own where they differ:

```python
from infoexchange.bridges.geographic import imsma
from infoexchange.catalogue.forms import Form

own = Form.parse(open("our-hazards.csv", encoding="utf-8"))  # begin with a copy of maps/hazard.csv
reading = imsma.read(table, handling, now=now, forms=[own])
```

A form takes the place of the packaged one for its message type, in `read` and in `write`, for GeoJSON, ArcGIS and
IMSMA.

* **Marks** stand in a column or property `marks`, for example `TLP:AMBER | OP_STATUS:EXERCISE`; in GeoJSON also as a
  list, and at the head of the file for all features. `tlp` and `pap` of other people's files count too. What is marked
  stricter than the person who imports says is refused, and so is a mark that nobody understands.
* **Shapes** are WGS 84, longitude first. In GeoJSON and ArcGIS the geometry carries one of the fields marked ⌖, in
  IMSMA they are columns. Another reference system is refused.
* **Columns** are found by name, in any case. A cell that is not understood is left out with a note that names line and
  column; the rest of its row counts. An empty cell says nothing.
* **Lists** are separated by `; `, or are JSON. **Records** (marked JSON) have the field names of the `.proto` files.
* **Dates** are 2026-02-01, 2026-02 or 2026; 2026-02~ is about then, 2026-01/2026-03 between, `unknown` not known. A
  note follows in brackets. Milliseconds since 1970, as ArcGIS writes dates, are understood. 2/1/2026 is not: nobody
  knows which of the two is the month.
* A cell that a spreadsheet would run begins with a quote, which reading takes away.

"""
_SHAPES = ("polygon", "results[].polygon", "location.geometry", "location.point", "position.", "location.point.")


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name in FORMATS:
        found = bridges.find(name)
        losses = "".join(f"* {loss}\n" for loss in found.losses)
        parts.append(f"## `{name}`: what is lost\n\n{found.title}. Never lost: marks.\n\n{losses}\n")
    for name in forms.names():
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
    """Write the page, or check it."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
