"""Columns: what each column of each table stands for, from the code's own lists.

Writes docs/bridges/tables.md; with --check, only says whether it is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infoexchange.bridges.tables import eore, piracy, seizures
from infoexchange.bridges.tables.table import Table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridges" / "tables.md"
TABLES: dict[str, Table] = {"piracy": piracy.TABLE, "seizures": seizures.TABLE, "eore": eore.TABLE}
_HEAD = """# Tables

`piracy`, `seizures` and `eore` read and write CSV, `piracy-xlsx`, `seizures-xlsx` and `eore-xlsx` XLSX; each reads
both. Made by `python tools/columns_of_tables.py`; a test fails when it is not up to date.

The first line has the names of the columns, in any order and in capitals or not. CSV is UTF-8, with commas, semicolons
or tabs between cells. Of a workbook the first sheet that is shown is read, rows that a filter hides too. What is not
understood is noted with its line and left out; a line with nothing on it is no row.

`marks` is a column of every table: TLP and the other marks, as `TLP:AMBER | OP_STATUS:EXERCISE`. A row marked stricter
than the marks given for the import is refused. Columns `tlp` and `pap` of others count as marks too (`red`,
`TLP:AMBER+STRICT`); a TLP mark that nobody knows is refused.

Dates with missing parts are `2026-02`, `2026`, `2026~` (about), `2026-02/2026-04` (somewhere between) or `unknown`. A
code stands as value or meaning of its list, one of another list as `VALUE [list version]`.
"""
_NOTES = {
    "piracy": "One row is one report. An empty cell is written `NA`.",
    "seizures": "One row is one thing found; rows that follow one another with one `seizure_id` are one report, whose\n"
    "other columns are taken from the first of them.",
    "eore": "One row is one report. In the six columns of people, 0 is none and an empty cell is not known.",
}


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, table in TABLES.items():
        parts.append(f"\n## {name}: {table.schema.DESCRIPTOR.name}\n\n{_NOTES[name]}\n\n")
        parts.append("| column | cell | field |\n|---|---|---|\n")
        for column in table.columns:
            needed = "**" if column.name in table.needed else ""
            fields = ", ".join(f"`{field}`" for field in column.field.split(", "))
            parts.append(f"| {needed}{column.name}{needed} | {column.kind.shape} | {fields} |\n")
        parts.append("\nColumns in bold must be there. What is lost:\n\n")
        parts += [f"- {loss}\n" for loss in table.losses]
    return "".join(parts)


def main() -> int:
    """Write the page, or say that it has to be written."""
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") == page():
            return 0
        print("docs/bridges/tables.md is not up to date; run: python tools/columns_of_tables.py", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
