"""Bridges: readers and writers of foreign formats, one module each; bytes in, messages out, and back.

A bridge says what it could not carry: `Reading.notes` for one file, `LOSSES` of the module for the format. Handling
marks are never among the losses: a bridge that would lose one refuses with MARK_LOST.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message

    from infoexchange.catalogue import Handling

# A file of more notes than this is the wrong file; beyond it notes are only counted, so that memory stays bounded.
NOTES_MAX = 10_000


class Note(NamedTuple):
    """Something in a file that was not understood or not carried: where, which field, why."""

    place: str
    field: str
    detail: str


@dataclass(slots=True)
class Reading:
    """The messages of one file, read as they are iterated, and what was noticed up to now.

    Messages are drafts: `catalogue.rules.check` says whether they may be sent. Iterate once.
    """

    source: Callable[[Reading], Iterator[Message]]
    notes: list[Note] = field(default_factory=list)
    notes_count: int = 0
    messages_count: int = 0
    # How many messages there may be at most, to show progress by; 0 where that is not known.
    expected: int = 0

    def __iter__(self) -> Iterator[Message]:
        """Give the messages one by one."""
        for message in self.source(self):
            self.messages_count += 1
            yield message

    def note(self, place: str, name: str, detail: str) -> None:
        """Keep a note for the person who imports the file."""
        self.notes_count += 1
        if len(self.notes) < NOTES_MAX:
            self.notes.append(Note(place, name, detail))


@dataclass(frozen=True, slots=True)
class Format:
    """One foreign format: its name on the command line, what it is, and which module reads and writes it."""

    name: str
    title: str
    suffix: str
    module: str

    @property
    def losses(self) -> tuple[str, ...]:
        """What this format cannot carry, in words; never a mark."""
        return tuple(self._module().LOSSES)

    def read(self, data: bytes, handling: Handling, *, now: datetime) -> Reading:
        """Return the messages of a file.

        Args:
            data: The whole file.
            handling: The marks the messages get; what the file itself is marked with is added or must be covered.
            now: The time of reading, aware; what the file does not date is dated with it.

        Raises:
            MalformedError: Where the file is not of this format, with line or path.
            RefusedError: `MARK_LOST` where `handling` is weaker than the file's own marks.
        """
        reading: Reading = self._module().read(data, handling, now=now)
        return reading

    def write(self, messages: Iterable[Message], *, now: datetime, allow_red: bool = False) -> bytes:
        """Return a file with these messages.

        Raises:
            RefusedError: `MARK_LOST` where the format cannot carry a mark, or a record is marked stricter than its
                message; `RULE_BROKEN` where not the type.
        """
        data: bytes = self._module().write(map(_covered, messages), now=now, allow_red=allow_red)
        return data

    def _module(self) -> Any:
        # By name, so that an agency loads only the bridge it uses and bridges stay independent of one another.
        module, _, part = self.module.partition(":")
        found = import_module(f"{__name__}.{module}")
        return getattr(found, part) if part else found


# A line each, so that a format is added in one place; `module` names a part of it after a colon where it has several.
FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        Format("arcgis", "feature JSON of ArcGIS, as reports on mine action", ".json", "geographic.arcgis"),
        Format("asam", "anti-shipping activity messages, as MaritimeIncidentReport", ".json", "asam"),
        Format("cap", "CAP 1.2 alert, as Alert; written of MaritimeAdvisory too", ".xml", "cap"),
        Format("eore", "table of risk education, as EoreReport", ".csv", "tables.eore:CSV"),
        Format("eore-xlsx", "the same table as a spreadsheet", ".xlsx", "tables.eore:XLSX"),
        Format("ftm", "FollowTheMoney entities, as SanctionsUpdate and messages on people and money", ".json", "ftm"),
        Format("geojson", "GeoJSON, as reports on mine action and incidents at sea", ".geojson", "geographic.geojson"),
        Format("goaml", "goAML report, as TransactionSet; also written of a FiuResponse", ".xml", "goaml"),
        Format("htcds", "table of HTCDS 2.0, as VictimReferral", ".csv", "htcds"),
        Format("imsma", "table of IMSMA Core, as reports on mine action", ".csv", "geographic.imsma"),
        Format("iso20022", "ISO 20022 camt.056 and camt.029, as StopPaymentRequest and its answer", ".xml", "iso20022"),
        Format("misp", "MISP events, as IndicatorSet or CyberIncidentReport", ".json", "misp"),
        Format("piracy", "table of attacks on ships, as MaritimeIncidentReport", ".csv", "tables.piracy:CSV"),
        Format("piracy-xlsx", "the same table as a spreadsheet", ".xlsx", "tables.piracy:XLSX"),
        Format("seizures", "table of seized drugs, as DrugSeizureReport", ".csv", "tables.seizures:CSV"),
        Format("seizures-xlsx", "the same table as a spreadsheet", ".xlsx", "tables.seizures:XLSX"),
        Format("stix", "STIX 2.1, as IndicatorSet, CyberIncidentReport, FraudAlert, PersonNotice", ".json", "stix"),
        Format("unlist", "UN Consolidated List, as SanctionsUpdate; read only", ".xml", "unlist"),
    )
}


def _covered(message: Message) -> Message:
    """Return a message whose mark covers its records: what a file is marked with, and asked for RED, is the message's.

    Raises:
        RefusedError: `MARK_LOST` where a record is marked stricter.
    """
    from infoexchange.catalogue import handling_of, marks

    own = handling_of(message).tlp
    if own and marks.tlp_of(message) > own:
        step = "Set handling.tlp to the strictest mark of its records."
        detail = "a record is marked stricter than its message"
        raise error(Reason.MARK_LOST, field="handling.tlp", detail=detail, next_step=step)
    return message


_JSON, _OBJECT, _XML, _TABLE = (b"{", b"["), (b"{",), (b"<",), ()
# How a file of a format begins, nothing for a table, and what it holds somewhere, a table in its first line: at least
# one word of each group. The first that fits counts.
_SIGNS: tuple[tuple[str, tuple[bytes, ...], tuple[tuple[bytes, ...], ...]], ...] = (
    ("stix", _OBJECT, ((b'"bundle',),)),
    ("geojson", _OBJECT, ((b'"FeatureCollection"', b'"Feature"'),)),
    ("arcgis", _OBJECT, ((b'"spatialReference"',),)),
    ("misp", _JSON, ((b'"info"',), (b'"Event"', b'"Attribute"'))),
    ("ftm", _JSON, ((b'"schema"',), (b'"properties"',))),
    ("goaml", (b"<",), ((b"<report",), (b"<currency_code_local",))),
    ("asam", _JSON, ((b'"navArea"',),)),
    ("unlist", _XML, ((b"<CONSOLIDATED_LIST",),)),
    ("iso20022", _XML, ((b":iso:20022:tech:xsd:camt.0",),)),
    ("cap", _XML, ((b"urn:oasis:names:tc:emergency:cap:",),)),
    ("htcds", _TABLE, ((b"vic_TraffickingStatus",), (b",",))),
    ("imsma", _TABLE, ((b"hazard_id", b"accident_id", b"eore_id"), (b",",))),
)


def find(name: str) -> Format:
    """Return a format by its name.

    Raises:
        MalformedError: `BAD_FIELD` where there is no such format.
    """
    if name not in FORMATS:
        step = f"Choose one of {', '.join(sorted(FORMATS))}."
        raise error(Reason.BAD_FIELD, field="format", detail="no such format", next_step=step)
    return FORMATS[name]


def detect(data: bytes) -> Format | None:
    """Return the format a file seems to have, or None; its reader still decides whether it has it."""
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    first = start.split(b"\n", 1)[0]
    for name, beginnings, groups in _SIGNS:
        held = data if beginnings else first
        if start.startswith(beginnings or b"") and all(any(word in held for word in words) for words in groups):
            return FORMATS[name]
    table: str = import_module(f"{__name__}.tables.detection").table_of(data)
    return FORMATS.get(table)
