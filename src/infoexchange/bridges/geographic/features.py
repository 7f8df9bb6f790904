"""Features: rows with a shape and messages, the same for every geographic file.

A message without a key column is of no form. A report of which each row is one part of the land is put together from
all rows with its number. A position that is not safe to record is taken from no column and no geometry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.bridges import Reading
from infoexchange.bridges.geographic.document import bad, text_of
from infoexchange.catalogue import Geometry, GeometryKind, GeoPoint, Handling, IdentityGap, forms, handling_of, labels
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue.forms import Column, Form

# Where the shape of a feature stands in a message: areas and lines first, then points.
_SHAPES: dict[str, tuple[str, str]] = {
    "HazardReport": ("polygon", "benchmark"),
    "LandReleaseReport": ("results[].polygon", ""),
    "EoAccidentReport": ("location.geometry", "location.point"),
    "EoreReport": ("location.geometry", "location.point"),
    "MaritimeIncidentReport": ("", "position"),
}
MINE_ACTION = ("hazard", "release", "accident", "eore")
SCHEMA = "schema"
MARKS = frozenset({labels.COLUMN, "tlp", "pap"})
# Columns of our own, read for every form.
OWN = MARKS | {SCHEMA}
# What map services add to every table; some say who edited it.
_SYSTEM = frozenset(
    {"objectid", "objectid_1", "fid", "ogc_fid", "globalid", "parentglobalid", "creationdate", "creator", "editdate",
     "editor", "created_date", "created_user", "last_edited_date", "last_edited_user", "shape", "shape_length",
     "shape_area", "shape__length", "shape__area"}
)  # fmt: skip


class Feature(NamedTuple):
    """One row of a file: its place, its cells by name in small letters, its shape, members that stand beside those."""

    place: str
    cells: Mapping[str, str]
    shape: Any = None
    others: Mapping[str, str] = {}


class Written(NamedTuple):
    """One row to be written: its form and cells, and the shape that a geometry can carry in place of some columns."""

    form: Form
    cells: dict[str, str]
    shape: Any
    key: str
    carried: frozenset[str]


def packaged(names: Iterable[str], own: Sequence[Form] | None = None) -> tuple[Form, ...]:
    """Return the forms to use: an operator's own for their message types, the packaged ones for all others."""
    replaced = {form.message_type: form for form in own or ()}
    found = [replaced.pop(form.message_type, form) for form in map(forms.load, names)]
    found += replaced.values()

    def is_shared(form: Form) -> bool:
        return any(other is not form and any(map(other.known, form.key.names)) for other in found)

    # Tried in this order: the number of a hazard is the key of its form, and a plain column of others.
    return tuple(sorted(found, key=is_shared))


def row_of(found: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return the properties of a feature as cells, by name in small letters.

    Raises:
        MalformedError: `BAD_FIELD` where two names differ only in case, or marks are no text.
    """
    row: dict[str, str] = {}
    for name, value in found.items():
        lower = name.strip().lower()
        if lower in row:
            bad(f"{place}.{name[:100]}", "another name differs from it only in case")
        if lower in OWN and not isinstance(value, (str, type(None))):
            if lower != labels.COLUMN or not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                bad(f"{place}.{lower}", "a text is needed")
            value = labels.SEPARATOR.join(value)
        row[lower] = text_of(value)
    return row


def marks_in(found: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return the marks that stand in an object itself, beside its properties; none of them is passed over.

    Raises:
        MalformedError: `BAD_FIELD` as `row_of`.
    """
    return row_of({name: value for name, value in found.items() if name.strip().lower() in MARKS}, place)


def marked(row: dict[str, str], place: str, *outer: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a row together with the marks of what it stands in.

    Raises:
        RefusedError: `MARK_LOST` where a cell `tlp` or `pap` says otherwise than what it stands in.
    """
    for marks in outer:
        for name, text in marks.items():
            own = row.get(name, "")
            if name == labels.COLUMN:
                row[name] = labels.SEPARATOR.join(filter(None, (text, own)))
            elif own and text and own.upper() != text.upper():
                detail = "the file and a feature of it are marked differently"
                raise error(Reason.MARK_LOST, field=f"{place}: {name}", detail=detail)
            else:
                row[name] = own or text
    return row


@dataclass
class Reader:
    """One file being read."""

    forms: tuple[Form, ...]
    handling: Handling
    now: datetime
    reading: Reading
    # Where a file names its columns once, what is not read is noted there once.
    names_once: bool = False

    def __post_init__(self) -> None:
        """Begin with nothing read."""
        self._first: dict[tuple[str, str], str] = {}
        self._parts: dict[str, tuple[Any, Any]] = {}
        self._noted: set[str] = set()

    def messages(self, features: Iterable[Feature]) -> Iterator[Message]:
        """Give the messages of a file, those of several rows at the end."""
        for feature in features:
            form = self.form_of(feature.cells)
            if form is None:
                self.reading.note(feature.place, "", "no column of it is the key of a form: left out")
                continue
            message = self.message(form, feature)
            if form.each:
                self.part(form, feature, message)
            else:
                self.once(form, feature)
                yield message
        for message, _ in self._parts.values():
            yield message

    def form_of(self, cells: Mapping[str, str]) -> Form | None:
        """Return the form of a row: the one it names, or the first whose key it has."""
        for form in self.forms:
            if form.message_type.DESCRIPTOR.name == cells.get(SCHEMA):
                return form
        filled = [name for name, text in cells.items() if text]
        return next((form for form in self.forms if form.fits(filled)), None)

    def message(self, form: Form, feature: Feature) -> Any:
        """Return the message, or the part of one, that a row says."""
        place, message = feature.place, form.message_type()
        name = message.DESCRIPTOR.name
        if feature.shape is not None and not set_shape(message, feature.shape):
            self.reading.note(place, "geometry", f"a {name} has no place for a shape of this kind: left out")
        form.read(feature.cells, lambda column, why: self.reading.note(place, column, why), now=self.now, into=message)
        self.finish(message, place)
        try:
            handling_of(message).CopyFrom(labels.with_cells(self.handling, feature.cells))
        except ExchangeError as refused:
            raise forms.refused_at(place, refused) from None
        if not self.names_once:
            self.note_rest(form, feature)
        return message

    def finish(self, message: Any, place: str) -> None:
        """Set what follows from the rest, and take away what must not be there."""
        name = message.DESCRIPTOR.name
        if name == "MaritimeIncidentReport":
            ship = message.vessel
            if not (ship.name or ship.imo or ship.mmsi or ship.callsign or ship.identity_gap):
                ship.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED
        if _is_unsafe(message) and _has_position(message):
            message.ClearField("benchmark")
            message.ClearField("polygon")
            for piece in message.evidence:
                piece.ClearField("point")
            self.reading.note(place, "position_safe_to_record", "the position is not safe to record: left out")

    def note_rest(self, form: Form, feature: Feature) -> None:
        """Note what a row says and no field holds; never its value, which could name a person or a place."""
        for name, text in feature.cells.items():
            if not text or name in OWN or form.known(name):
                continue
            if name in form.never or name in _SYSTEM:
                self.note_once(feature.place, form, name)
            else:
                self.reading.note(feature.place, name[:100], "not carried")
        for name in feature.others:
            self.reading.note(feature.place, name[:100], "a foreign member, not carried")

    def note_once(self, place: str, form: Form, name: str) -> None:
        """Note a column that is never read, once for a file."""
        if name not in self._noted:
            self._noted.add(name)
            why = form.never.get(name) or "a column of the map service, not of the report"
            self.reading.note(place, name, f"never read: {why}")

    def once(self, form: Form, feature: Feature) -> None:
        """Note a second row with the number of one before."""
        key = next((feature.cells[name] for name in form.key.names if feature.cells.get(name)), "")
        first = self._first.setdefault((form.name, key), feature.place)
        if key and first != feature.place:
            self.reading.note(feature.place, form.key.name, f"the same number as {first}")

    def part(self, form: Form, feature: Feature, message: Any) -> None:
        """Put a row to the other rows of its report."""
        rows = getattr(message, form.each)
        for row in rows:
            row.local_id = row.local_id or "area-1"
        bare = type(message)()
        bare.CopyFrom(message)
        bare.ClearField(form.each)
        key = str(getattr(message, form.key.path, "")) or feature.place
        known, held = self._parts.setdefault(key, (message, bare))
        if known is message:
            return
        if held.handling != bare.handling:
            detail = "rows of one report are marked differently"
            raise error(Reason.MARK_LOST, field=f"{feature.place}: marks", detail=detail)
        if held != bare:
            self.reading.note(feature.place, form.key.name, "other rows of this report say otherwise: the first counts")
        whole = getattr(known, form.each)
        for row in rows:
            if row.local_id == "area-1":
                row.local_id = f"area-{len(whole) + 1}"
            whole.add().CopyFrom(row)


def _is_unsafe(message: Any) -> bool:
    """Tell whether a report says that its position must not be on record."""
    if message.DESCRIPTOR.name != "HazardReport" or not message.HasField("position_safe_to_record"):
        return False
    return not message.position_safe_to_record


def _has_position(message: Any) -> bool:
    held = message.HasField("benchmark") or message.HasField("polygon")
    return held or any(piece.HasField("point") for piece in message.evidence)


def set_shape(message: Any, shape: Any) -> bool:
    """Put a shape where a message of its type has it; tell whether there is such a place."""
    area, point = _SHAPES.get(message.DESCRIPTOR.name, ("", ""))
    path = point if isinstance(shape, GeoPoint) else area
    is_line = isinstance(shape, Geometry) and shape.kind == GeometryKind.GEOMETRY_KIND_LINE
    if not path or (is_line and not path.startswith("location")):
        return False
    record = message
    *way, last = path.split(".")
    for step in way:
        name, is_list, _ = step.partition("[]")
        record = getattr(record, name).add() if is_list else getattr(record, name)
    getattr(record, last).CopyFrom(shape)
    return True


def shape_of(message: Any, place: int) -> tuple[str, Any]:
    """Return the path and the shape that a geometry can carry for a message, or nothing."""
    for path in _SHAPES.get(message.DESCRIPTOR.name, ()):
        record = message
        for step in path.split(".") if path else ():
            name, is_list, _ = step.partition("[]")
            if is_list:
                rows = getattr(record, name)
                record = rows[place] if place < len(rows) else None
            else:
                record = getattr(record, name) if record.HasField(name) else None
            if record is None:
                break
        # A point of which half is missing is no position; its columns say what there is.
        if path and record is not None and (not isinstance(record, GeoPoint) or _is_whole(record)):
            return path, record
    return "", None


def _is_whole(point: Any) -> bool:
    return bool(point.HasField("latitude") and point.HasField("longitude"))


def written(
    messages: Iterable[Any], known: Sequence[Form], *, allow_red: bool, has_geometry: bool = True
) -> Iterator[Written]:
    """Give the rows of messages, with their marks.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot stand in a cell, `RULE_BROKEN` for a type without a form.
    """
    for message in messages:
        form = next((form for form in known if isinstance(message, form.message_type)), None)
        if form is None:
            detail = "the format has no form for this type of message"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
        marks = labels.to_cell(handling_of(message), allow_red=allow_red)
        if _is_unsafe(message) and _has_position(message):
            detail = "the report holds a position that is not safe to record"
            raise error(Reason.RULE_BROKEN, field="position_safe_to_record", detail=detail)
        for place in range(max(1, len(getattr(message, form.each)))) if form.each else (0,):
            cells = form.write(message, place)
            path, shape = shape_of(message, place) if has_geometry else ("", None)
            below = (column.name for column in form.columns if path and f"{column.path}.".startswith(f"{path}."))
            key = cells[form.key.name] + (f"/{place + 1}" if form.each else "")
            own = {SCHEMA: form.message_type.DESCRIPTOR.name, labels.COLUMN: marks}
            yield Written(form, own | cells, shape, key, frozenset(below))


def whole_shape(form: Form) -> Column | None:
    """Return the column that holds an area as text, where a geometry cannot carry it whole."""
    area = _SHAPES.get(form.message_type.DESCRIPTOR.name, ("", ""))[0]
    return next((column for column in form.columns if area and column.path == area), None)
