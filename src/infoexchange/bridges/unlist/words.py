"""Words of the UN list: its names of countries, kinds of dates, grades of aliases and kinds of documents, in ours."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

from infoexchange.catalogue import DateKind, DocumentType, NameKind, NameQuality, PartialDate, Sex, codes
from infoexchange.markup import Element

_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T+-].*)?")
_YEAR = re.compile(r"[0-9]{4}")

# What the list says of an alias. It grades aliases of persons only; a.k.a. and f.k.a. say what a name is, not how good.
ALIASES: Mapping[str, tuple[int, int]] = {
    "good": (NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_GOOD),
    "low": (NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_LOW),
    "a.k.a.": (NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    "a.k.a": (NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    "f.k.a.": (NameKind.NAME_KIND_FORMER, NameQuality.NAME_QUALITY_UNSPECIFIED),
    "f.k.a": (NameKind.NAME_KIND_FORMER, NameQuality.NAME_QUALITY_UNSPECIFIED),
}
DATE_KINDS: Mapping[str, DateKind.ValueType] = {
    "EXACT": DateKind.DATE_KIND_EXACT,
    "APPROXIMATELY": DateKind.DATE_KIND_APPROXIMATE,
    "BETWEEN": DateKind.DATE_KIND_BETWEEN,
    # A date without a word on how firm it is, is not claimed to be firm.
    "": DateKind.DATE_KIND_APPROXIMATE,
}
SEXES: Mapping[str, Sex.ValueType] = {"male": Sex.SEX_M, "female": Sex.SEX_F}
DOCUMENTS: Mapping[str, DocumentType.ValueType] = {
    "passport": DocumentType.DOCUMENT_TYPE_PASSPORT,
    "passeport": DocumentType.DOCUMENT_TYPE_PASSPORT,
    "diplomatic passport": DocumentType.DOCUMENT_TYPE_DIPLOMATIC,
    "service passport": DocumentType.DOCUMENT_TYPE_SERVICE,
    "national identification card": DocumentType.DOCUMENT_TYPE_ID_CARD,
    "national identification number": DocumentType.DOCUMENT_TYPE_ID_CARD,
    "identity card": DocumentType.DOCUMENT_TYPE_ID_CARD,
    "residence permit": DocumentType.DOCUMENT_TYPE_RESIDENCE,
    "driving licence": DocumentType.DOCUMENT_TYPE_DRIVING_LICENCE,
    "driver's license": DocumentType.DOCUMENT_TYPE_DRIVING_LICENCE,
    "birth certificate": DocumentType.DOCUMENT_TYPE_BIRTH_CERT,
    "visa": DocumentType.DOCUMENT_TYPE_VISA,
}
# First words of the names that Unicode gives to letters, and the script's code in ISO 15924.
_SCRIPTS: Mapping[str, str] = {
    "ARABIC": "Arab", "ARMENIAN": "Armn", "BENGALI": "Beng", "CJK": "Hani", "CYRILLIC": "Cyrl", "DEVANAGARI": "Deva",
    "GEORGIAN": "Geor", "GREEK": "Grek", "HANGUL": "Hang", "HEBREW": "Hebr", "KHMER": "Khmr", "LAO": "Laoo",
    "LATIN": "Latn", "MYANMAR": "Mymr", "TAMIL": "Taml", "THAI": "Thai",
}  # fmt: skip


def country(name: str) -> str:
    """Return the code of two letters of a country as the list names it, or nothing."""
    row = codes.load("un-member-names").find(name)
    return row["alpha2"] if row else ""


def issuing_state(name: str) -> str:
    """Return the code of three letters of a country as the list names it, or nothing."""
    row = codes.load("un-member-names").find(name)
    return row["alpha3"] if row else ""


def script_of(text: str) -> str:
    """Return the script of a text, or nothing where its letters are of none or of several that are known here."""
    found = {_SCRIPTS.get(unicodedata.name(char, "").partition(" ")[0], "") for char in text if char.isalpha()}
    return found.pop() if len(found) == 1 else ""


def day(text: str) -> PartialDate | None:
    """Return a day written YYYY-MM-DD, with or without a time behind it, or None."""
    found = _DAY.fullmatch(text)
    try:
        stated = date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None
    if stated is None:
        return None
    return PartialDate(kind=DateKind.DATE_KIND_EXACT, year=stated.year, month=stated.month, day=stated.day)


def birth(element: Element) -> tuple[PartialDate, str]:
    """Return a date of birth and what is doubtful about it, nothing where nothing is."""
    word, first = element.value("TYPE_OF_DATE").upper(), element.value("DATE")
    year, until = element.value("YEAR") or element.value("FROM_YEAR"), element.value("TO_YEAR")
    kind, note = DATE_KINDS.get(word), element.value("NOTE")
    doubt = "" if kind else "the kind of date is not known"
    kind = kind or DateKind.DATE_KIND_APPROXIMATE
    stated = day(first) or PartialDate()
    if not stated.year and _YEAR.fullmatch(year) and int(year):
        stated.year = int(year)
    if not stated.year:
        doubt = doubt or ("the date cannot be read" if first or year or until else "")
        stated, kind = PartialDate(), DateKind.DATE_KIND_UNKNOWN
    elif kind == DateKind.DATE_KIND_BETWEEN:
        if _YEAR.fullmatch(until) and int(until) >= stated.year:
            stated.to_year = int(until)
        else:
            doubt, kind = "the second year is missing or before the first", DateKind.DATE_KIND_APPROXIMATE
    elif until:
        doubt = "a second year without BETWEEN: left out"
    # Whatever could not be read stays in words.
    rest = [text for text in (first, year, until) if text] if doubt else []
    stated.kind, stated.note = kind, "; ".join([*([note] if note else []), *rest])
    return stated, doubt


def split(text: str, size: int) -> list[str]:
    """Return a text in lines of at most so many characters, parted between words where there are any."""
    lines = []
    while len(text) > size:
        place = text.rfind(" ", 1, size + 1)
        place = place if place > 0 else size
        lines.append(text[:place].strip())
        text = text[place:].strip()
    return [*lines, text] if text else lines


def is_grown(births: list[Any], year: int) -> bool:
    """Tell whether every date of birth, and there is one, lies more than 18 years before a year."""
    latest = [max(found.year, found.to_year) for found in births if found.year]
    return bool(latest) and all(found + 18 < year for found in latest)
