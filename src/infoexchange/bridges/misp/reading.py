"""Reading: events of MISP as IndicatorSet and CyberIncidentReport, with notes on what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.misp import tags
from infoexchange.bridges.misp.records import Records, is_true, tag_names
from infoexchange.catalogue import CyberIncidentReport, Handling, IndicatorSet, labels, strict_json
from infoexchange.errors import ExchangeError, Reason, error

# What our schema lets a report hold; more goes into a set of its own.
_REPORT_INDICATORS_MAX = 1000
_SUBJECT_MAX, _SUMMARY_MAX = 500, 8000  # characters, by the rules of the messages
# Read, or of this copy of the event alone; never noted.
_SILENT = frozenset(
    {"uuid", "info", "Tag", "Attribute", "Object", "EventReport", "id", "org_id", "orgc_id", "timestamp", "date",
     "publish_timestamp", "published", "attribute_count", "locked", "proposal_email_lock", "disable_correlation",
     "sharing_group_id", "analysis", "threat_level_id", "distribution", "protected", "CryptographicKey", "user_id"}
)  # fmt: skip
# Noted, in words of our own, for what they are.
_REASONS = {
    "Galaxy": "galaxies are not carried, but for numbers of techniques in tags",
    "Org": "organisations are not carried",
    "Orgc": "organisations are not carried",
    "ShadowAttribute": "proposals are not carried",
    "event_creator_email": "who made the event is not carried",
}
# Only these organisations and these may see the event: who reads it must say so in marks.
_NARROW = {"0": "the own organisation", "4": "a sharing group"}


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the messages of a file with one or more events, and notes on what was left out.

    Args:
        data: The file, JSON in UTF-8: an event, a list of events or an answer of MISP's search.
        handling: The marks of the messages. What is unset is filled from the event; what is weaker is refused.
        now: Not used; every bridge takes it.

    Raises:
        MalformedError: `MALFORMED` for anything but events, `BAD_FIELD` with the path of a value that cannot be read.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of an event, `TOO_LARGE` beyond 64 MiB.
    """
    events = list(_events(strict_json.load(data)))
    messages: list[Any] = []
    reading = Reading(lambda _: iter(messages))
    for event, path in events:
        messages += _Event(event, path, handling, reading).messages()
    return reading


def _events(document: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Give the events of a file with their paths."""
    if isinstance(document, dict) and "response" in document:
        yield from _list(document["response"], "response")
    elif isinstance(document, list) and document:
        yield from _list(document, "")
    else:
        yield _event(document, "")


def _list(found: Any, path: str) -> Iterator[tuple[dict[str, Any], str]]:
    if not isinstance(found, list):
        yield _event(found, path)
        return
    for index, one in enumerate(found):
        yield _event(one, f"{path}[{index}]")


def _event(found: Any, path: str) -> tuple[dict[str, Any], str]:
    """Return the event that stands here, or say what stands here in its place."""
    detail, step = "this is no event of MISP", ""
    if isinstance(found, dict):
        if isinstance(found.get("Event"), dict):
            return found["Event"], f"{path}.Event".lstrip(".")
        if "info" in found and ("Attribute" in found or "Object" in found or "uuid" in found):
            return found, path
        if found.get("type") == "bundle":
            detail, step = "this is a bundle of STIX, no event of MISP", "Import it as format stix."
        elif "SharingGroup" in found:
            detail = "these are sharing groups of MISP, no event"
            step = "Export the event itself, in the format MISP JSON."
    raise error(Reason.MALFORMED, field=path, detail=detail, next_step=step)


class _Event:
    """One event being read: its tags, its attributes, and the messages made of them."""

    def __init__(self, found: dict[str, Any], path: str, handling: Handling, reading: Reading) -> None:
        self.found, self.path, self.reading = found, path, reading
        self.identifier = strict_json.text(found, "uuid", path) or "event"
        self.tags = tag_names(found, path)
        self.attributes = list(self.all_attributes())
        self.reports = [
            (report, f"{path}.EventReport[{index}]".lstrip("."))
            for index, report in enumerate(strict_json.objects(found, "EventReport", path))
            if not is_true(report.get("deleted"))
        ]
        stated = [tags.to_label(tag) for tag in self.tags]
        for holder, where in [*((attribute, where) for attribute, where, _ in self.attributes), *self.reports]:
            stated += [tags.to_label(tag) for tag in tag_names(holder, where)]
        known = [label for label in stated if label is not None]
        # A record is marked by itself only where it is less strict than the strictest of its event.
        strictest = max((tags.tlp_of(label) for label in known if tags.is_tlp(label)), default=0)
        self.handling = self.marks(handling, known)
        self.gradings = {tag for tag in self.tags if tags.take_grading(self.handling, tag)}
        self.records = Records(self.attributes, strictest, reading)

    def marks(self, handling: Handling, known: list[str]) -> Handling:
        """Return the marks of the event's messages; where there are several events, a refusal says which is meant."""
        try:
            return labels.with_labels(handling, known)
        except ExchangeError as refused:
            where = f"{self.path}: {refused.field}" if "[" in self.path else refused.field
            raise error(refused.reason, field=where, detail=refused.detail, next_step=refused.next_step) from None

    def all_attributes(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Give every attribute that was not deleted, with its path and the id of the object it is a part of."""
        for holder, path, inside in self.holders():
            for index, attribute in enumerate(strict_json.objects(holder, "Attribute", path)):
                where = f"{path}.Attribute[{index}]".lstrip(".")
                if is_true(attribute.get("deleted")):
                    self.reading.note(where, "deleted", "the attribute was deleted: left out")
                else:
                    yield attribute, where, inside

    def holders(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Give what holds attributes: the event and its objects."""
        yield self.found, self.path, ""
        for index, found in enumerate(strict_json.objects(self.found, "Object", self.path)):
            where = f"{self.path}.Object[{index}]".lstrip(".")
            if is_true(found.get("deleted")):
                self.reading.note(where, "deleted", "the object was deleted: left out")
            else:
                yield found, where, strict_json.text(found, "uuid", where).lower() or where

    def messages(self) -> list[Any]:
        """Return the one or two messages of the event."""
        draft = self.records.own_message()
        if draft is None:
            return self.foreign()
        draft.handling.CopyFrom(self.handling)
        self.records.fill(draft, draft.set_id if isinstance(draft, IndicatorSet) else draft.incident_id)
        if isinstance(draft, IndicatorSet):
            self.describe(draft)
        else:
            self.describe_incident(draft)
            if not draft.HasField("type"):
                self.set_type(draft)
        self.note_rest(is_own=True, is_incident=isinstance(draft, CyberIncidentReport))
        return [draft]

    def foreign(self) -> list[Any]:
        """Return what an event of somebody else says."""
        found = IndicatorSet(handling=self.handling, set_id=self.identifier)
        self.records.fill(found, self.identifier)
        for index, one in enumerate(strict_json.objects(self.found, "Object", self.path)):
            if not is_true(one.get("deleted")):
                self.records.add_references(found, one, f"{self.path}.Object[{index}]".lstrip("."))
        self.describe(found)
        self.shorten(found)
        is_incident = tags.incident_type(self.tags) is not None
        self.note_rest(is_own=False, is_incident=is_incident)
        if not is_incident:
            return [found]
        report = CyberIncidentReport(handling=self.handling, incident_id=self.identifier)
        self.set_type(report)
        self.describe_incident(report)
        report.summary = "\n\n".join(part for part in (found.subject, found.summary) if part)[:_SUMMARY_MAX]
        crowded = len(found.indicators) > _REPORT_INDICATORS_MAX
        if crowded or found.contexts or found.sightings or found.relationships:
            return [report, found]
        report.indicators.extend(found.indicators)
        return [report]

    def shorten(self, message: Any) -> None:
        """Leave out of a set what our schema has no room for: it would keep the whole event from being sent."""
        place = self.path or "Event"
        if len(message.subject) > _SUBJECT_MAX:
            message.subject = message.subject[:_SUBJECT_MAX]
            self.reading.note(place, "info", f"cut after {_SUBJECT_MAX} characters")
        if len(message.summary) > _SUMMARY_MAX - _SUBJECT_MAX - 2:
            message.summary = ""
            self.reading.note(place, "EventReport", "too long for a summary: left out")

    def set_type(self, report: Any) -> None:
        """Set the kind of incident from the tags."""
        code = tags.incident_type(self.tags)
        if code is not None:
            report.type.CopyFrom(code)

    def describe(self, message: Any) -> None:
        """Set what the set is about."""
        message.subject = strict_json.text(self.found, "info", self.path) or f"MISP event {self.identifier}"
        message.summary = self.summary()

    def describe_incident(self, report: Any) -> None:
        """Set what is told of the incident, and the techniques that tags name."""
        report.summary = self.summary()
        found = [*report.attack_techniques, *filter(None, map(tags.technique, self.tags))]
        report.ClearField("attack_techniques")
        report.attack_techniques.extend(dict.fromkeys(found))

    def summary(self) -> str:
        """Return the text of the event's first report."""
        return strict_json.text(self.reports[0][0], "content", self.reports[0][1]) if self.reports else ""

    def note_rest(self, *, is_own: bool, is_incident: bool) -> None:
        """Note what of the event itself no field holds."""
        place = self.path or "Event"
        for name in sorted(self.found.keys() - _SILENT):
            if self.found[name]:
                self.reading.note(place, name[:60], _REASONS.get(name, "property not carried"))
        if len(self.reports) > 1:
            self.reading.note(place, "EventReport", "only the first report is carried")
        narrow = _NARROW.get(str(self.found.get("distribution")))
        if narrow and not is_own:
            self.reading.note(
                place, "distribution", f"MISP shows the event to {narrow} only: see that the marks say so"
            )
        code = tags.incident_type(self.tags) if is_incident else None
        for tag in self.tags:
            is_type = code is not None and tag == tags.from_incident_type(code)
            is_technique = is_incident and tags.technique(tag)
            if tags.to_label(tag) is None and tag not in self.gradings and not is_type and not is_technique:
                self.reading.note(place, "Tag", tags.taxonomy_of(tag))
