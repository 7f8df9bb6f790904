"""Draft: the JSON page from which a directory version is made, with every mistake named by its place."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from infoexchange import catalogue, certificates, suites
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import in_file, read_file
from infoexchange.listing import Group, Listing, Nation, Party, Role, Roots
from infoexchange.tlog import VerifierKey

T = TypeVar("T")

REGISTRATION_FORM = "infoexchange relay registration 1"
_DAYS_MAX = 3650  # ten years: a longer life is a typing error

TEMPLATE = """\
// Draft of a directory. Lines that begin with // are comments; paths are relative to this file;
// times are ISO 8601, in UTC where they name no zone.
// Next: infoexchange directory make DRAFT --out directory.payload
{
  // Suffix that names the community.
  "community": "exchange.example",
  // Nothing is accepted under this version later than this.
  "valid_days": 90,
  // Written by: infoexchange directory roots
  "roots": "roots.pb",

  // Algorithms that are accepted. Optional; this is the default. There are also "NIST-HIGH", "CLASSICAL" (no protection
  // against quantum computers) and national numbers such as "0x0100", which everybody on the way must have.
  "suites": ["HYBRID", "HYBRID-KEM"],

  // Members and partner bodies, with the certificates of the CAs that issue for agencies and for TLS.
  "nations": [
    {
      "code": "th", "suffix": "th.example", "member_from": "2026-01-01",
      "identity_cas": ["th/ca.pem"], "tls_cas": ["th/ca.pem"], "treaties": ["2002-joint-declaration"]
    }
  ],

  // The registration.json files that `infoexchange-relay init` wrote.
  "relays": ["th/registration.json"],

  // "relay" holds the agency's mailbox. Optional: "title", "member_from", "member_to".
  "agencies": [
    {"name": "desk.oncb.th.example", "nation": "th", "relay": "relay.th.example", "domains": ["drugs", "persons"]}
  ],

  // Working groups: named lists of agencies. Optional: "valid_to".
  "groups": [
    {"name": "drugs-desks", "members": ["desk.oncb.th.example"], "valid_from": "2026-01-01"}
  ]
}
"""


def parse_draft(path: Path, *, previous: Listing | None, previous_digest: bytes, now: datetime) -> Listing:
    """Return the content of the directory version that a draft describes.

    Args:
        path: The draft.
        previous: The version before, if there is one.
        previous_digest: Its digest.
        now: When this version is issued.

    Raises:
        MalformedError: `MALFORMED` or `BAD_FIELD`, naming the place.
        UnavailableError: `UNAVAILABLE` when a file that the draft names is missing.
    """
    draft = _Fields(_load(path), "")
    days = draft.take("valid_days", int)
    if not 1 <= days <= _DAYS_MAX:
        raise _bad("valid_days", f"{days}, not 1 to {_DAYS_MAX}")
    raw = _read(path, draft.take("roots", str), "roots")
    with in_file(path.parent / draft.take("roots", str)):
        roots = Roots.parse(raw)
    parties = [_relay(path, name, f"relays[{i}]") for i, name in enumerate(draft.texts("relays"))]
    listing = Listing(
        community=draft.take("community", str),
        version=previous.version + 1 if previous else 1,
        issued_at=now,
        expires_at=now + timedelta(days=days),
        roots=roots,
        nations=tuple(_nation(path, fields) for fields in draft.objects("nations")),
        parties=(*parties, *(_agency(fields) for fields in draft.objects("agencies"))),
        groups=tuple(_group(fields) for fields in draft.objects("groups")),
        suites=_suites(draft),
        previous=previous_digest,
    )
    draft.close()
    # What cannot be read back must not be signed.
    return Listing.parse(listing.payload)


def _load(path: Path) -> object:
    raw = read_file(path, next_step="Print a draft to begin with: infoexchange directory template")
    try:
        # A blank line for each comment keeps the line numbers of messages right.
        lines = ["" if line.lstrip().startswith("//") else line for line in raw.decode().splitlines()]
        return json.loads("\n".join(lines))
    except (ValueError, RecursionError) as problem:
        raise error(
            Reason.MALFORMED,
            field=str(path),
            detail=f"not JSON: {problem}",
            next_step="Correct the draft; `infoexchange directory template` prints one.",
        ) from None


def _suites(draft: _Fields) -> tuple[int, ...]:
    names = draft.texts("suites") or tuple(suite.name for suite in suites.OFFERED)
    known = {suite.name: number for number, suite in suites.SUITES.items()}
    known |= {f"0x{number:04x}": number for number in suites.NATIONAL}
    for i, name in enumerate(names):
        if name not in known:
            raise _bad(f"suites[{i}]", f"no suite {name!r}{_nearest(name, [s.name for s in suites.SUITES.values()])}")
    return tuple(sorted({known[name] for name in names}))


def _nation(path: Path, fields: _Fields) -> Nation:
    nation = Nation(
        code=fields.take("code", str),
        suffix=fields.take("suffix", str),
        member_from=fields.moment("member_from"),
        member_to=fields.moment_or_none("member_to"),
        identity_cas=_cas(path, fields, "identity_cas"),
        tls_cas=_cas(path, fields, "tls_cas"),
        treaties=fields.texts("treaties"),
    )
    fields.close()
    return nation


def _cas(path: Path, fields: _Fields, key: str) -> tuple[bytes, ...]:
    ders = []
    for i, name in enumerate(fields.texts(key)):
        raw = _read(path, name, f"{fields.where}{key}[{i}]")
        with in_file(path.parent / name):
            ders += certificates.from_pem(raw)
    return tuple(ders)


def _relay(path: Path, name: str, where: str) -> Party:
    try:
        value = json.loads(_read(path, name, where))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.pop("form", None) != REGISTRATION_FORM:
        raise _bad(where, f"{name} is not a registration.json of `infoexchange-relay init`")
    fields = _Fields(value, f"{where}: {name}: ")
    relay = Party(
        name=fields.take("name", str),
        nation=fields.take("nation", str),
        role=Role.RELAY,
        relay=fields.take("name", str),
        address=fields.take("address", str),
        log_keys=fields.texts("log_keys"),
        witness_keys=fields.texts("witness_keys"),
    )
    with in_file(path.parent / name):
        for text in (*relay.log_keys, *relay.witness_keys):
            VerifierKey.parse(text)  # the listing carries it as text, and would carry a damaged one
    fields.close()
    return relay


def _agency(fields: _Fields) -> Party:
    known = {name.removeprefix("DOMAIN_").lower(): number for name, number in catalogue.Domain.items() if number}
    domains = []
    for i, word in enumerate(fields.texts("domains")):
        if word not in known:
            raise _bad(f"{fields.where}domains[{i}]", f"no domain {word!r}{_nearest(word, known)}")
        domains.append(known[word])
    agency = Party(
        name=fields.take("name", str),
        nation=fields.take("nation", str),
        role=Role.AGENCY,
        relay=fields.take("relay", str),
        title=fields.take("title", str, ""),
        domains=tuple(sorted(set(domains))),
        member_from=fields.moment_or_none("member_from"),
        member_to=fields.moment_or_none("member_to"),
    )
    fields.close()
    return agency


def _group(fields: _Fields) -> Group:
    group = Group(
        name=fields.take("name", str),
        members=fields.texts("members"),
        valid_from=fields.moment("valid_from"),
        valid_to=fields.moment_or_none("valid_to"),
    )
    fields.close()
    return group


def _read(draft: Path, name: str, where: str) -> bytes:
    if not name.isprintable():  # no NUL and no half of a surrogate pair, which no file system takes
        raise _bad(where, f"{name!r} is not the name of a file")
    return read_file(draft.parent / name, next_step=f"Correct {where} in {draft}; paths are relative to that file.")


class _Fields:
    """One object of the draft, whose every key is asked for or refused."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _bad(where.rstrip(".") or "the draft", "not an object { }")
        self.where = where
        self._value: dict[str, Any] = value
        self._asked: set[str] = set()

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        self._asked.add(key)
        value = self._value.get(key, default)
        if value is None:
            raise _bad(self.where + key, "is missing" + self._meant(key))
        if type(value) is not kind:  # exactly: a JSON true is no number
            raise _bad(self.where + key, f"not a {_WORDS[kind]}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where there is none."""
        values: list[Any] = self.take(key, list, [])
        for i, value in enumerate(values):
            if type(value) is not str:
                raise _bad(f"{self.where}{key}[{i}]", "not a text")
        return tuple(values)

    def objects(self, key: str) -> list[_Fields]:
        """Return a list of objects, empty where there is none."""
        return [_Fields(v, f"{self.where}{key}[{i}].") for i, v in enumerate(self.take(key, list, []))]

    def moment(self, key: str) -> datetime:
        text = self.take(key, str)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise _bad(self.where + key, f"{text!r} is not a date such as 2026-01-31") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def moment_or_none(self, key: str) -> datetime | None:
        self._asked.add(key)
        return self.moment(key) if key in self._value else None

    def close(self) -> None:
        """Raise if there is a key that nothing asked for."""
        for key in self._value.keys() - self._asked:
            raise _bad(self.where + key, f"no such key{_nearest(key, self._asked)}")

    def _meant(self, key: str) -> str:
        near = difflib.get_close_matches(key, self._value.keys() - self._asked, 1)
        return f"; {near[0]!r} stands there" if near else ""


_WORDS: dict[type, str] = {str: "text", int: "whole number", list: "list [ ]"}


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"


def _bad(where: str, detail: str) -> ExchangeError:
    return error(Reason.BAD_FIELD, field=where, detail=detail, next_step="Correct it in the draft and run it again.")
