"""Standards: values that follow a published list or notation, by the name that the option `standard` of a field gives.

A list that changes every year is checked as far as it is kept here; `codes.add` makes it longer without a release.
Codes that a standard leaves to its users (XA to XZ, Qaaa, qaa) always pass: they are never given to anything else.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from infoexchange.catalogue import codes

# ISO 3166-1, user-assigned: AA, QM to QZ, XA to XZ, ZZ; and of three letters those that begin so.
_OWN_ALPHA2 = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ")
_OWN_ALPHA3 = re.compile(r"AA[A-Z]|Q[M-Z][A-Z]|X[A-Z]{2}|ZZ[A-Z]")
_OWN_SCRIPT = re.compile(r"Qa[a-b][a-x]")
_OWN_LANGUAGE = re.compile(r"q[a-t][a-z]")
# RFC 5646, section 2.1, without the grandfathered tags, which nobody should use any more.
_TAG = re.compile(
    r"([a-z]{2,3})((?:-[a-z]{3}){0,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
)
_MGRS = re.compile(r"([0-9]{1,2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-Z])([0-9]*)")
# Letters of the columns of 100 km: they begin anew in every third zone. Rows have twenty letters.
_MGRS_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_MGRS_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_MGRS_NONE = frozenset({"32X", "34X", "36X"})  # their neighbours are wider


def is_country(value: str) -> bool:
    """Tell whether a value is a country of ISO 3166-1 in two letters, or user-assigned."""
    return codes.load("iso-3166-1").find(value) is not None or bool(_OWN_ALPHA2.fullmatch(value))


def is_issuer(value: str) -> bool:
    """Tell whether a value is an issuing state or body in three letters, as ICAO 9303 has them."""
    known = bool(_OWN_ALPHA3.fullmatch(value)) or value in _alpha3(codes.load("iso-3166-1"))
    return known or codes.load("icao-9303").find(value) is not None


@functools.lru_cache(maxsize=2)
def _alpha3(listed: codes.CodeList) -> frozenset[str]:
    return frozenset(row["alpha3"] for row in listed.rows.values())


def is_subdivision(value: str) -> bool:
    """Tell whether a value has the form of ISO 3166-2 and begins with a country.

    What follows changes every year, and a table that is a year old would refuse what is right: it is compared only
    where a list `iso-3166-2` was added.
    """
    if not is_country(value.partition("-")[0]):
        return False
    return "iso-3166-2" not in codes.names() or codes.load("iso-3166-2").find(value) is not None


def is_script(value: str) -> bool:
    """Tell whether a value is a script of ISO 15924."""
    return bool(_OWN_SCRIPT.fullmatch(value)) or codes.load("iso-15924").find(value) is not None


def is_language_tag(value: str) -> bool:
    """Tell whether a value is a language tag of BCP 47: a language of ISO 639, then perhaps a script and a region."""
    found = _TAG.fullmatch(value.lower())
    if not found:
        return False
    language, _, script, region = found.groups()
    known = bool(_OWN_LANGUAGE.fullmatch(language)) or codes.load("iso-639").find(language) is not None
    written = script is None or is_script(script.capitalize())
    return known and written and (region is None or region.isdecimal() or is_country(region.upper()))


def is_un_locode(value: str) -> bool:
    """Tell whether a UN/LOCODE begins with a country; the table of its hundred thousand places is not kept here."""
    return is_country(value[:2])


def is_mgrs(value: str) -> bool:
    """Tell whether a grid reference names a square that there is: zone, band, column and row go together."""
    found = _MGRS.fullmatch(value)
    if not found:
        return False
    zone, band, column, row, figures = found.groups()
    there = 1 <= int(zone) <= 60 and f"{int(zone)}{band}" not in _MGRS_NONE
    return there and column in _MGRS_COLUMNS[int(zone) % 3] and row in _MGRS_ROWS and len(figures) % 2 == 0


def is_bic(value: str) -> bool:
    """Tell whether the fifth and sixth character of a BIC (ISO 9362) are a country."""
    return is_country(value[4:6])


# By the name in the option: the test, and what is wrong where it fails.
TESTS: dict[str, tuple[Callable[[str], bool], str]] = {
    "iso-3166-1": (is_country, "ISO 3166-1 has no such country"),
    "icao-9303": (is_issuer, "neither ISO 3166-1 nor ICAO 9303 has such a state or body"),
    "iso-3166-2": (is_subdivision, "there is no such subdivision of a country"),
    "iso-15924": (is_script, "ISO 15924 has no such script"),
    "bcp-47": (is_language_tag, "this is no language tag of BCP 47"),
    "un-locode": (is_un_locode, "a UN/LOCODE begins with a country"),
    "mgrs": (is_mgrs, "there is no such square in the grid"),
    "bic": (is_bic, "the fifth and sixth character are no country"),
}
# Rules that a list which is newer than ours may have made right.
GROWING = frozenset({"iso-3166-1", "icao-9303", "iso-3166-2", "iso-15924", "bcp-47", "un-locode", "bic"})
