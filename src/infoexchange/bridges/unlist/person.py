"""Person: the individual of an entry, with partial dates, names in their own script, and documents."""

from __future__ import annotations

from infoexchange.bridges.unlist import words
from infoexchange.bridges.unlist.entry import Entry
from infoexchange.catalogue import DocumentType, Minor, NameKind, PersonRole
from infoexchange.markup import Element

# As many as a Person holds; further ones are said in the comments.
_NAMES_MAX, _ADDRESSES_MAX, _DOCUMENTS_MAX, _NATIONALITIES_MAX = 50, 50, 50, 10
_DOCUMENT_PARTS = ("TYPE_OF_DOCUMENT2", "CITY_OF_ISSUE", "NOTE")
_NUMBER_MAX = 60


def read_person(entry: Entry, year: int) -> None:
    """Set the person an entry lists.

    Args:
        entry: The entry, its head read.
        year: The year of reading, by which somebody born long enough ago is of age.
    """
    element, message = entry.element, entry.message
    person = message.person
    person.local_id, person.role = "person-1", PersonRole.PERSON_ROLE_SUBJECT_OF_SANCTION
    _names(entry)
    _births(entry, year)
    for found in element.all("INDIVIDUAL_ADDRESS"):
        address = entry.address(found)
        if address is not None and len(person.addresses) < _ADDRESSES_MAX:
            person.addresses.append(address)
        elif address is not None:
            entry.remarks.append(f"Further address: {', '.join([*address.lines, address.locality, address.country])}")
    for found in element.all("INDIVIDUAL_DOCUMENT"):
        _document(entry, found)
    sex = element.value("GENDER")
    person.sex = words.SEXES.get(sex.lower(), person.sex)
    if sex and not person.sex:
        entry.note(element, "GENDER", "not understood: left out")
    for name in entry.values("NATIONALITY"):
        code = words.country(name)
        if code and code not in person.nationalities and len(person.nationalities) < _NATIONALITIES_MAX:
            person.nationalities.append(code)
        elif not code:
            entry.note(element, "NATIONALITY", "no code is known for this name: it stands in the comments")
            entry.remarks.append(f"Nationality: {name}")
    message.titles.extend(entry.values("TITLE"))
    message.designations.extend(entry.values("DESIGNATION"))


def _names(entry: Entry) -> None:
    """Set the names: the parts of the first are written as they follow one another, none called family name."""
    names = entry.message.person.names
    first = entry.name()
    if first:
        names.add(full=first, kind=NameKind.NAME_KIND_PRIMARY)
    for text, kind, quality in entry.aliases("INDIVIDUAL_ALIAS"):
        if len(names) < _NAMES_MAX:
            names.add(full=text, kind=kind, quality=quality, script=words.script_of(text))
        else:
            entry.note(entry.element, "INDIVIDUAL_ALIAS", f"more than {_NAMES_MAX} names: this one is in the comments")
            entry.remarks.append(f"Further name: {text}")


def _births(entry: Entry, year: int) -> None:
    """Set dates and places of birth, and whether the person is of age."""
    message, births = entry.message, []
    for found in entry.element.all("INDIVIDUAL_DATE_OF_BIRTH"):
        stated, doubt = words.birth(found)
        if doubt:
            entry.note(found, "INDIVIDUAL_DATE_OF_BIRTH", doubt)
        if stated.year or stated.note:
            births.append(stated)
    if births:
        message.person.birth.CopyFrom(births[0])
        message.other_births.extend(births[1:])
    message.person.is_minor = Minor.MINOR_NO if words.is_grown(births, year) else Minor.MINOR_UNKNOWN
    if message.person.is_minor == Minor.MINOR_UNKNOWN:
        detail = "no date of birth shows an adult: is_minor is UNKNOWN, which asks for strict marks"
        entry.note(entry.element, "INDIVIDUAL_DATE_OF_BIRTH", detail)
    for found in entry.element.all("INDIVIDUAL_PLACE_OF_BIRTH"):
        if not message.person.HasField("birth_place"):
            entry.place(message.person.birth_place, found)
            if not message.person.birth_place.ByteSize():
                message.person.ClearField("birth_place")
        else:
            place = type(message.person.birth_place)()
            if entry.place(place, found):
                message.other_birth_places.append(place)


def _document(entry: Entry, element: Element) -> None:
    """Add a document; one without number or state is said in the comments, because the message asks for both."""
    kind, number = element.value("TYPE_OF_DOCUMENT"), element.value("NUMBER")
    by = element.value("ISSUING_COUNTRY")
    where = element.value("COUNTRY_OF_ISSUE")
    state = words.issuing_state(by or where)
    issued = words.day(element.value("DATE_OF_ISSUE"))
    told = [*([element.value("DATE_OF_ISSUE")] if issued is None else []), entry.about(element, _DOCUMENT_PARTS)]
    told.append(f"issued in {where}" if by and where and by != where else "")
    about = "; ".join(text for text in told if text)
    documents = entry.message.person.documents
    if number and state and len(number) <= _NUMBER_MAX and len(documents) < _DOCUMENTS_MAX:
        known = words.DOCUMENTS.get(kind.lower(), DocumentType.DOCUMENT_TYPE_OTHER)
        document = documents.add(type=known, number=number, issuing_state=state)
        if known == DocumentType.DOCUMENT_TYPE_OTHER:
            document.type_text = kind or "not stated"
        if issued is not None:
            document.issued.CopyFrom(issued)
        if about:
            entry.remarks.append(f"{kind or 'Document'} {number}: {about}")
        return
    told = [kind, number, by or where, element.value("DATE_OF_ISSUE") if issued is not None else "", about]
    text = "; ".join(part for part in told if part)
    if text:
        entry.remarks.append(f"Document: {text}")
        entry.note(element, "INDIVIDUAL_DOCUMENT", "no number or no state that is known: it stands in the comments")
    else:
        entry.note(element, "INDIVIDUAL_DOCUMENT", "blank: left out")
