"""Links: Relationship, IdentityDocument and SanctionsUpdate, as FollowTheMoney writes them and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from infoexchange.bridges.ftm import words
from infoexchange.bridges.ftm.entities import Entity
from infoexchange.bridges.ftm.parties import PASSPORTS, Note
from infoexchange.catalogue import (
    DateKind,
    DocumentType,
    IdentityDocument,
    NameKind,
    NameQuality,
    Precision,
    Relationship,
    SanctionsAction,
    SanctionsMeasure,
    SanctionsUpdate,
    values,
)

UN_REF = re.compile(r"[A-Z]{2}[ie][.][0-9]{3,4}")
_SLUG = re.compile(r"[^a-z0-9]+")
_FINE = range(Precision.PRECISION_DAY, Precision.PRECISION_MILLISECOND + 1)
_ENDED = frozenset({"inactive", "expired", "delisted", "terminated", "revoked"})

PARTIES = frozenset({"Person", "Organization", "Company", "PublicBody", "LegalEntity"})
_BODY = frozenset({"Organization", "Company", "PublicBody"})
_ASSET = frozenset({"Company", "Vessel", "BankAccount"})
_ANY = PARTIES | _ASSET | {"CryptoWallet"}


class Edge(NamedTuple):
    """A schema that links two entities: its two properties, what they may name, and our word for the link."""

    source: str
    sources: frozenset[str]
    target: str
    targets: frozenset[str]
    word: str


EDGES = {
    "Ownership": Edge("owner", PARTIES, "asset", _ASSET, "owner-of"),
    "Directorship": Edge("director", PARTIES, "organization", _BODY, "director-of"),
    "Employment": Edge("employee", frozenset({"Person"}), "employer", _BODY, "works-for"),
    "Membership": Edge("member", PARTIES, "organization", _BODY, "member-of"),
    "Associate": Edge("person", frozenset({"Person"}), "associate", frozenset({"Person"}), "associate-of"),
    "Family": Edge("person", frozenset({"Person"}), "relative", frozenset({"Person"}), "family-of"),
    "Representation": Edge("agent", PARTIES, "client", PARTIES, "represents"),
    "Succession": Edge("predecessor", PARTIES, "successor", PARTIES, "precedes"),
    "UnknownLink": Edge("subject", _ANY, "object", _ANY, "related-to"),
}
# Words of a document's kind, searched in small letters; the first that is found counts.
_DOCUMENTS = (
    ("diplomatic", DocumentType.DOCUMENT_TYPE_DIPLOMATIC),
    ("service passport", DocumentType.DOCUMENT_TYPE_SERVICE),
    ("passport", DocumentType.DOCUMENT_TYPE_PASSPORT),
    ("driv", DocumentType.DOCUMENT_TYPE_DRIVING_LICENCE),
    ("seafarer", DocumentType.DOCUMENT_TYPE_SEAFARER_ID),
    ("visa", DocumentType.DOCUMENT_TYPE_VISA),
    ("residence", DocumentType.DOCUMENT_TYPE_RESIDENCE),
    ("birth", DocumentType.DOCUMENT_TYPE_BIRTH_CERT),
    ("national id", DocumentType.DOCUMENT_TYPE_ID_CARD),
    ("identity card", DocumentType.DOCUMENT_TYPE_ID_CARD),
    ("id card", DocumentType.DOCUMENT_TYPE_ID_CARD),
)


def link(word: str, source: tuple[str, str], target: tuple[str, str]) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a link between two entities, each given by id and schema."""
    for schema, edge in EDGES.items():
        if edge.word == word and source[1] in edge.sources and target[1] in edge.targets:
            return schema, {edge.source: [source[0]], edge.target: [target[0]]}
    return "UnknownLink", {"subject": [source[0]], "object": [target[0]], "role": [word]}


def from_relationship(
    record: Any, source: tuple[str, str], target: tuple[str, str]
) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a relationship between two entities."""
    schema, found = link(record.type, source, target)
    for field, name in (("start_at", "startDate"), ("end_at", "endDate")):
        found[name] = [getattr(record, field).ToJsonString()[:19] if record.HasField(field) else ""]
    return schema, found


def to_relationship(entity: Entity, note: Note, refs: Mapping[str, str]) -> Relationship | None:
    """Return a relationship, or None where an end of it is not known."""
    edge = EDGES[entity.schema]
    ends = [refs.get(entity.first(name), "") for name in (edge.source, edge.target)]
    if not all(ends):
        return None
    record = Relationship(from_ref=ends[0], to_ref=ends[1], type=edge.word)
    if entity.schema == "UnknownLink":
        record.type = _SLUG.sub("-", entity.first("role").lower()).strip("-")[:100] or edge.word
    for field, name in (("start_at", "startDate"), ("end_at", "endDate")):
        text = entity.first(name)
        when = words.instant(text)
        if when is not None and when.precision in _FINE:
            getattr(record, field).CopyFrom(when.utc)
        elif text:
            note(name, "not known to the day")
    if record.HasField("end_at") and record.start_at.ToNanoseconds() >= record.end_at.ToNanoseconds():
        record.ClearField("end_at")
        note("endDate", "not after startDate")
    return record


def from_document(document: IdentityDocument, holder: str) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a document of somebody."""
    kind = DocumentType.Name(document.type) if document.type in DocumentType.values() else ""
    words_of = kind.removeprefix("DOCUMENT_TYPE_").replace("_", " ").capitalize()
    return "Passport" if document.type in PASSPORTS else "Identification", {
        "holder": [holder],
        "number": [document.number],
        "type": [document.type_text or words_of],
        "country": [values.alpha2(document.issuing_state).lower()],
        "startDate": [values.date_text(document.issued)],
        "endDate": [values.date_text(document.expires)],
    }


def to_document(entity: Entity, note: Note) -> IdentityDocument | None:
    """Return a document, or None where number or issuing state are missing."""
    number, text = entity.first("number", "passportNumber"), entity.first("type")
    state = values.alpha3(entity.first("country"))
    if not 0 < len(number) <= 60 or not state:
        note("number", "a document needs a number and a state of ISO 3166-1 that issued it: left out")
        return None
    made = IdentityDocument(number=number, issuing_state=state, type=DocumentType.DOCUMENT_TYPE_OTHER)
    found = next((kind for word, kind in _DOCUMENTS if word in text.lower()), None)
    if entity.schema == "Passport" and found not in PASSPORTS:
        found = DocumentType.DOCUMENT_TYPE_PASSPORT
    if found is not None:
        made.type = found
    else:
        made.type_text = text[:200] or entity.schema
    for field, name in (("issued", "startDate"), ("expires", "endDate")):
        value = values.partial_date(entity.first(name))
        if value is not None:
            getattr(made, field).CopyFrom(value)
    return made


def from_sanction(update: SanctionsUpdate, listed: str) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a listing of an entity."""
    ended = update.action == SanctionsAction.SANCTIONS_ACTION_DELIST
    provisions = [words.MEASURE_TEXTS.get(measure, "") for measure in update.measures]
    return "Sanction", {
        "entity": [listed],
        "program": [update.list_id],
        "unscId": [update.un_ref],
        "provisions": [*provisions, update.measures_text],
        "status": ["Inactive" if ended else "Active"],
        "endDate" if ended else "startDate": [values.date_text(update.effective_on)],
        "listingDate": [values.date_text(update.listed_on)],
        "modifiedAt": [values.date_text(day) for day in update.updated_on],
        "reason": [update.comments],
    }


def from_further(update: Any) -> dict[str, list[str]]:
    """Return what a listing says of who is listed beside the record: names, births, titles, posts."""
    found: dict[str, list[str]] = {"alias": [], "weakAlias": [], "previousName": []}
    for name in update.other_names:
        former = name.kind == NameKind.NAME_KIND_FORMER
        weak = name.quality == NameQuality.NAME_QUALITY_LOW
        found["previousName" if former else "weakAlias" if weak else "alias"].append(name.text)
    found["birthDate"] = [values.date_text(birth) for birth in update.other_births]
    return found | {"title": list(update.titles), "position": list(update.designations)}


def to_sanction(entity: Entity, note: Note, now: datetime) -> SanctionsUpdate:
    """Return a listing without marks and without who is listed."""
    update = SanctionsUpdate(un_ref=entity.first("unscId"))
    update.list_id = entity.first("programId", "program", "authority")[:100]
    end, status = entity.first("endDate"), entity.first("status").lower()
    ended = values.partial_date(end)
    is_over = ended is not None and values.date_text(ended) <= now.astimezone(UTC).date().isoformat()
    gone = is_over or status in _ENDED
    update.action = SanctionsAction.SANCTIONS_ACTION_DELIST if gone else SanctionsAction.SANCTIONS_ACTION_ADD
    first, since = entity.first("startDate"), entity.first("listingDate")
    listed_on = values.partial_date(since)
    effective = ended if gone else values.partial_date(first) or listed_on
    if effective is not None:
        update.effective_on.CopyFrom(effective)
    else:
        update.effective_on.kind = DateKind.DATE_KIND_UNKNOWN
        note("startDate", "not said from when it holds")
    if listed_on is not None:
        update.listed_on.CopyFrom(listed_on)
    _set_measures(update, entity.take("provisions"))
    if not update.measures and not gone:
        note("provisions", "not said what the listing means: set the measures before sending")
    updated = [values.partial_date(text) for text in entity.take("modifiedAt")]
    update.updated_on.extend(day for day in updated if day is not None)
    update.comments = "; ".join(entity.take("reason"))[:8000]
    return update


def _set_measures(update: Any, texts: list[str]) -> None:
    """Set what a listing means; what we have no word for is OTHER with the words of the file."""
    others = []
    for text in texts:
        measure = next((measure for word, measure in words.MEASURES.items() if word in text.lower()), None)
        if measure is None:
            others.append(text)
        elif measure not in update.measures:
            update.measures.append(measure)
    if others:
        update.measures.append(SanctionsMeasure.SANCTIONS_MEASURE_OTHER)
        update.measures_text = "; ".join(others)[:1000]
