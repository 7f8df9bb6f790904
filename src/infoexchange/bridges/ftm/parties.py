"""Parties: Person and Organisation, as FollowTheMoney writes them and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from infoexchange.bridges.ftm.entities import Entity
from infoexchange.catalogue import (
    DocumentType,
    NameKind,
    NameQuality,
    Organisation,
    Person,
    PersonName,
    PersonRole,
    Sex,
    values,
)

# Says why a value is not carried: the property and the reason.
Note = Callable[[str, str], None]

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_LEI = re.compile(r"[A-Z0-9]{18}[0-9]{2}")
_SEXES = {"male": Sex.SEX_M, "female": Sex.SEX_F, "other": Sex.SEX_X}
_SEX_WORDS = {number: word for word, number in _SEXES.items()}
_NAME_MAX, _LINE_MAX = 500, 200
# Properties by kind of name; of a name without a kind nobody knows more than that it is one.
_NAMES = (
    ("name", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    ("alias", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    ("weakAlias", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_LOW),
    ("previousName", NameKind.NAME_KIND_FORMER, NameQuality.NAME_QUALITY_UNSPECIFIED),
)
ORGANISATIONS = ("Organization", "Company", "PublicBody", "LegalEntity")
PASSPORTS = frozenset(
    {DocumentType.DOCUMENT_TYPE_PASSPORT, DocumentType.DOCUMENT_TYPE_DIPLOMATIC, DocumentType.DOCUMENT_TYPE_SERVICE}
)


def full_name(name: PersonName) -> str:
    """Return a whole name: as written where that is said, else its parts in order."""
    if name.full:
        return str(name.full)
    return " ".join(part for part in (*name.given, name.patronymic, *name.family, name.mother) if part)


def _property_of(name: PersonName) -> str:
    if name.kind == NameKind.NAME_KIND_FORMER:
        return "previousName"
    if name.kind == NameKind.NAME_KIND_NICK or name.quality == NameQuality.NAME_QUALITY_LOW:
        return "weakAlias"
    return "alias" if name.kind == NameKind.NAME_KIND_ALIAS else "name"


def from_person(person: Person) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a person."""
    found: dict[str, list[str]] = {"name": []}
    for name in person.names:
        found.setdefault(_property_of(name), []).append(full_name(name))
    # FollowTheMoney demands a name; whoever has none of their own is called by what the message calls them.
    found["name"] = found["name"] or [person.pseudonym or person.local_id]
    if person.names:
        first = person.names[0]
        found |= {"firstName": list(first.given), "lastName": list(first.family)}
        found |= {"fatherName": [first.patronymic], "motherName": [first.mother]}
    found["birthDate"] = [values.date_text(person.birth)]
    found["birthPlace"] = [person.birth_place.stated_text]
    found["gender"] = [_SEX_WORDS.get(person.sex, "")]
    found["nationality"] = [code.lower() for code in person.nationalities]
    found["phone"] = [phone.e164 for phone in person.phones]
    found["address"] = [address_text(address) for address in person.addresses]
    found["appearance"] = [person.description]
    found["passportNumber"] = [document.number for document in person.documents if document.type in PASSPORTS]
    found["idNumber"] = [document.number for document in person.documents if document.type not in PASSPORTS]
    found["topics"] = ["sanction"] if person.role == PersonRole.PERSON_ROLE_SUBJECT_OF_SANCTION else []
    return "Person", found


def to_person(entity: Entity, note: Note, now: datetime) -> Person:
    """Return a person; who they are to the matter is for others to say."""
    person = Person(role=PersonRole.PERSON_ROLE_OTHER, role_text="named in a FollowTheMoney file")
    for name, kind, quality in _NAMES:
        for text in _short(entity, name, _NAME_MAX, note):
            person.names.add(full=text, kind=kind if person.names else NameKind.NAME_KIND_PRIMARY, quality=quality)
    if person.names:
        first = person.names[0]
        first.given.extend(_short(entity, "firstName", _LINE_MAX, note)[:10])
        first.family.extend(_short(entity, "lastName", _LINE_MAX, note)[:10])
        first.patronymic = entity.first("fatherName")[:_LINE_MAX]
        first.mother = entity.first("motherName")[:_LINE_MAX]
    births = [(text, values.partial_date(text)) for text in entity.take("birthDate")]
    known = [birth for _, birth in births if birth is not None]
    if known:
        person.birth.CopyFrom(known[0])
    for text, birth in births:
        if birth is None or birth != known[0]:
            note("birthDate", "not a date, or a second one" if len(text) < 40 else "not a date")
    person.is_minor = values.minor(person.birth, now)
    place = entity.first("birthPlace")
    if place:
        person.birth_place.stated_text = place[:_NAME_MAX]
    if entity.take("deathDate"):
        person.deceased = True
        note("deathDate", "kept as deceased, without the date")
    sex = entity.first("gender")
    person.sex = _SEXES.get(sex, Sex.SEX_UNSPECIFIED)
    if sex and not person.sex:
        note("gender", "not a value of FollowTheMoney")
    person.nationalities.extend(countries(entity, note, "nationality", "citizenship")[:10])
    for text in entity.take("phone"):
        if _E164.fullmatch(text):
            person.phones.add(e164=text)
        else:
            note("phone", "not in international form")
    for text in _short(entity, "address", 10 * _LINE_MAX, note):
        person.addresses.add(lines=_lines(text))
    person.description = "; ".join(entity.take("appearance"))[:4000]
    topics = [topic for topic in entity.take("topics") if len(topic) <= _LINE_MAX]
    if "sanction" in topics:
        person.role, person.role_text = PersonRole.PERSON_ROLE_SUBJECT_OF_SANCTION, ""
    elif topics:
        person.role_text = f"named in a FollowTheMoney file: {', '.join(topics)}"[:_LINE_MAX]
    return person


def from_organisation(organisation: Organisation) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of an organisation."""
    schema = "Company" if organisation.kind.lower() == "company" else "Organization"
    return schema, {
        "name": [organisation.name],
        "legalForm": [organisation.kind],
        "registrationNumber": [organisation.registration_number],
        "country": [organisation.country.lower()],
        "leiCode": [organisation.lei],
        "address": [address_text(address) for address in organisation.addresses],
    }


def to_organisation(entity: Entity, note: Note, _: datetime) -> Organisation:
    """Return an organisation. Of a LegalEntity nobody said whether it is a person; it is kept and noted."""
    made = Organisation(name=entity.first("name", "alias", "previousName")[:_NAME_MAX])
    made.kind = (entity.first("legalForm") or {"LegalEntity": "not said"}.get(entity.schema, entity.schema))[:100]
    if entity.schema == "LegalEntity":
        note("schema", "not said whether a person or an organisation: kept as an organisation")
    if len({*entity.take("name", "alias", "weakAlias", "previousName", "abbreviation")} - {made.name}):
        note("alias", "an organisation has one name; the others are kept only on a sanctions list")
    made.registration_number = entity.first("registrationNumber")[:100]
    made.country = next(iter(countries(entity, note, "jurisdiction", "mainCountry", "country")), "")
    lei = entity.first("leiCode")
    if _LEI.fullmatch(lei):
        made.lei = lei
    elif lei:
        note("leiCode", "not the form of an LEI")
    for text in _short(entity, "address", 10 * _LINE_MAX, note)[:20]:
        made.addresses.add(lines=_lines(text))
    return made


def countries(entity: Entity, note: Note, *names: str) -> list[str]:
    """Return the countries of properties; a code that ISO 3166-1 does not have is noted."""
    found = []
    for name in names:
        for text in entity.take(name):
            code = values.country(text)
            if not code:
                note(name, "no code of ISO 3166-1")
            elif code not in found:
                found.append(code)
    return found


def address_text(address: Any) -> str:
    """Return a whole address in one line."""
    parts = (*address.lines, f"{address.postal_code} {address.locality}".strip(), address.country)
    return ", ".join(part for part in parts if part)


def _lines(text: str) -> list[str]:
    return [text[start : start + _LINE_MAX] for start in range(0, len(text), _LINE_MAX)]


def _short(entity: Entity, name: str, limit: int, note: Note) -> list[str]:
    found = entity.take(name)
    if any(len(text) > limit for text in found):
        note(name, f"longer than {limit} characters: left out")
    return [text for text in found if len(text) <= limit]
