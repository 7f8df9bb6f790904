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
            RefusedError: `MARK_LOST` where the format cannot carry a mark, `RULE_BROKEN` where not the type.
        """
        data: bytes = self._module().write(messages, now=now, allow_red=allow_red)
        return data

    def _module(self) -> Any:
        # By name, so that an agency loads only the bridge it uses and bridges stay independent of one another.
        return import_module(f"{__name__}.{_MODULES[self.name]}")


_MODULES = {
    "arcgis": "geographic.arcgis",
    "ftm": "ftm",
    "geojson": "geographic.geojson",
    "htcds": "htcds",
    "imsma": "geographic.imsma",
    "misp": "misp",
    "piracy": "tables",
    "stix": "stix",
}

FORMATS: dict[str, Format] = {
    "stix": Format("stix", "STIX 2.1 bundle, as IndicatorSet, CyberIncidentReport, FraudAlert, PersonNotice", ".json"),
    "misp": Format("misp", "MISP events, as IndicatorSet or CyberIncidentReport", ".json"),
    "piracy": Format("piracy", "table of attacks on ships, as MaritimeIncidentReport", ".csv"),
    "ftm": Format("ftm", "FollowTheMoney entities, as SanctionsUpdate and messages on people and money", ".json"),
    "geojson": Format("geojson", "GeoJSON, as reports on mine action and incidents at sea", ".geojson"),
    "arcgis": Format("arcgis", "feature JSON of ArcGIS, as reports on mine action", ".json"),
    "imsma": Format("imsma", "table of IMSMA Core, as reports on mine action", ".csv"),
    "htcds": Format("htcds", "table of HTCDS 2.0, as VictimReferral", ".csv"),
}


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
    if start.startswith(b"{") and b'"bundle' in data[:65536]:
        return FORMATS["stix"]
    if start.startswith(b"{") and (b'"FeatureCollection"' in data[:65536] or b'"Feature"' in data[:65536]):
        return FORMATS["geojson"]
    if start.startswith(b"{") and b'"spatialReference"' in data[:65536]:
        return FORMATS["arcgis"]
    if start[:1] in {b"{", b"["} and b'"info"' in data and (b'"Event"' in data or b'"Attribute"' in data):
        return FORMATS["misp"]
    if start[:1] in (b"{", b"[") and b'"schema"' in data[:65536] and b'"properties"' in data[:65536]:
        return FORMATS["ftm"]
    first = start.split(b"\n", 1)[0]
    if b"," in first and b"vic_TraffickingStatus" in first:
        return FORMATS["htcds"]
    if b"," in first and any(key in first for key in (b"hazard_id", b"accident_id", b"eore_id")):
        return FORMATS["imsma"]
    if b"latitude" in first and b"attack_type" in first and b"," in first:
        return FORMATS["piracy"]
    return None
