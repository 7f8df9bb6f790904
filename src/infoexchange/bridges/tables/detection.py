"""Detection: which of the tables a file seems to be, by the names of its columns."""

from __future__ import annotations

from infoexchange.bridges.tables import comma, eore, piracy, seizures, spreadsheet
from infoexchange.errors import ExchangeError

_TABLES = {"piracy": piracy.TABLE, "seizures": seizures.TABLE, "eore": eore.TABLE}
# Longer than the line of names of any table.
_HEAD_MAX = 16_384


def table_of(data: bytes) -> str:
    """Return the name of the format of a file, or nothing."""
    is_spreadsheet = data.startswith(spreadsheet.START)
    first = data[:_HEAD_MAX].lstrip(b"\xef\xbb\xbf\r\n").partition(b"\n")[0]
    try:
        head = (spreadsheet.read(data) if is_spreadsheet else comma.read(first)).head
    except ExchangeError:
        return ""
    found = next((name for name, table in _TABLES.items() if table.fits(head)), "")
    return f"{found}-xlsx" if found and is_spreadsheet else found
