"""Tables: the targets of CSV and XLSX, whole files and the one part of a workbook that holds the cells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fuzz import changing
from fuzz.target import Target, of
from fuzz.world import World
from infoexchange.bridges.tables import eore, piracy, seizures, zipped
from infoexchange.bridges.tables.table import File
from infoexchange.catalogue import examples, lines

_SHEET = "xl/worksheets/sheet1.xml"


def targets(world: World, read: Callable[[Any, World, bytes], Any]) -> list[Target]:
    """Return the targets.

    Args:
        world: For the time of reading.
        read: Reads all messages of a file with a bridge.
    """
    data = examples.read("piracy.csv")
    book = piracy.XLSX.write(read(piracy.CSV, world, data), now=world.now)
    archive = zipped.Archive.parse(book)
    around = {
        name: b"".join(archive.chunks(name))
        for name in ("_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels")
    }
    sheet = b"".join(archive.chunks(_SHEET)).replace(b"><", b">\n<")

    def with_sheet(raw: bytes) -> Any:
        # What is spoilt is the sheet, and no checksum.
        return read(piracy.XLSX, world, zipped.pack(around | {_SHEET: raw}))

    tables = {
        "table of attacks": (piracy.CSV, data),
        "table of seizures": (seizures.CSV, examples.read("seizures.csv")),
        "table of risk education": (eore.CSV, examples.read("eore.csv")),
    }
    return [
        *(
            of(name, File.read, [seed], change=changing.lines, read=functools.partial(read, bridge, world))
            for name, (bridge, seed) in tables.items()
        ),
        of("spreadsheet", zipped.Archive, [book], read=functools.partial(read, piracy.XLSX, world), raw=None),
        of("lines of messages", lines.from_lines, [_lines()],
            change=changing.lines, read=lambda raw: list(lines.from_lines(raw))),
        of("sheet of a spreadsheet", zipped.Archive, [sheet], change=changing.lines, read=with_sheet, raw=None),
    ]  # fmt: skip


def _lines() -> bytes:
    return "".join(lines.to_line(examples.message(name)) for name in ("EoreReport", "MaritimeIncidentReport")).encode()
