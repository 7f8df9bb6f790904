"""Draft: the JSON page that a person edits, from which a directory version is made and into which one is written.

What others hand over as a file, a CA's certificate, a relay's registration, the root keys, may stand in the page itself
or be named as a file beside it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from infoexchange import catalogue, certificates, suites
from infoexchange.cli.fields import Fields, bad, nearest
from infoexchange.cli.output import one_line
from infoexchange.differences import ca_words, domain_word, moment
from infoexchange.errors import Reason, error
from infoexchange.home.files import in_file, read_file
from infoexchange.listing import Group, Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.tlog import VerifierKey

REGISTRATION_FORM = "infoexchange relay registration 1"
_DAYS_MAX = 3650  # ten years: a longer life is a typing error

TEMPLATE = """\
// Draft of a directory. Lines that begin with // are comments; paths are relative to this file;
// times are ISO 8601, in UTC where they name no zone.
// Next: infoexchange directory propose DRAFT --out directory.payload
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

  // Optional: "witness_policy", a list of the lines of a C2SP tlog-policy that replaces the usual rule.
}
"""

_HEAD = """\
// Draft of version {next} of the directory of {community}, begun from version {version}, digest
// {digest}
// Change what is to change. Lines that begin with // are comments; times are ISO 8601, in UTC where they name no zone.
// In place of "base64:..." a CA may be the path of its .pem file; in place of an object a relay may be the path of its
// registration.json, "roots" the path of what `infoexchange directory roots` wrote. Paths are relative to this file.
// Next: infoexchange directory propose DRAFT --after CURRENT --out directory.payload
"""
_INLINE = "base64:"  # no path begins so by accident


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
    draft = Fields(_load(path), "")
    days = draft.take("valid_days", int)
    if not 1 <= days <= _DAYS_MAX:
        raise bad("valid_days", f"{days}, not 1 to {_DAYS_MAX}")
    relays = draft.take("relays", list, [])
    policy = draft.texts("witness_policy")
    listing = Listing(
        community=draft.take("community", str),
        version=previous.version + 1 if previous else 1,
        issued_at=now,
        expires_at=now + timedelta(days=days),
        roots=_roots(path, draft),
        nations=tuple(_nation(path, fields) for fields in draft.objects("nations")),
        parties=(
            *(_relay(path, value, f"relays[{i}]") for i, value in enumerate(relays)),
            *(_agency(fields) for fields in draft.objects("agencies")),
        ),
        groups=tuple(_group(fields) for fields in draft.objects("groups")),
        suites=_suites(draft),
        witness_policy="".join(f"{line}\n" for line in policy),
        previous=previous_digest,
    )
    draft.close()
    # What cannot be read back must not be signed.
    return Listing.parse(listing.payload)


def write_draft(listing: Listing, digest: bytes) -> str:
    """Return a draft that, unchanged, makes the version after a listing with the same content."""
    days = -((listing.issued_at - listing.expires_at) // timedelta(days=1))  # rounded up
    relays = [p for p in listing.parties if p.role is Role.RELAY]
    agencies = [p for p in listing.parties if p.role is Role.AGENCY]
    values: dict[str, object] = {"community": listing.community, "valid_days": days}
    parts = [f"{json.dumps(key)}: {_json(value)}" for key, value in values.items()]
    keys = [
        {"holder": k.holder, "suite": _suite_text(k.suite), "public": base64.b64encode(k.public).decode()}
        for k in listing.roots.keys
    ]
    parts.append(f'"roots": {_json({"threshold": listing.roots.threshold, "keys": keys})}')
    parts.append(_list("nations", map(_nation_text, listing.nations)))
    parts.append(_list("relays", (_json(_relay_value(p)) for p in relays)))
    parts.append(_list("agencies", (_json(_agency_value(p)) for p in agencies)))
    parts.append(_list("groups", (_json(_group_value(g)) for g in listing.groups)))
    parts.append(f'"suites": {_json([_suite_text(number) for number in listing.suites])}')
    if listing.witness_policy:
        parts.append(f'"witness_policy": {_json(listing.witness_policy.splitlines())}')
    head = _HEAD.format(
        next=listing.version + 1, community=listing.community, version=listing.version, digest=digest.hex()
    )
    return head + "{\n" + ",\n\n".join(parts) + "\n}\n"


def _suite_text(number: int) -> str:
    return suites.SUITES[number].name if number in suites.SUITES else f"0x{number:04x}"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _list(key: str, texts: Iterator[str]) -> str:
    return f'"{key}": [\n' + ",\n".join(texts) + "\n]"


def _nation_text(n: Nation) -> str:
    """Return a nation as JSON, with comments that say in words which CAs stand in it."""
    comments = [f"// {use} CA of {n.code}: {one_line(ca_words(ca))}\n" for use, ca in _uses(n)]
    value = {"code": n.code, "suffix": n.suffix} | _times(member_from=n.member_from, member_to=n.member_to)
    for key, cas in (("identity_cas", n.identity_cas), ("tls_cas", n.tls_cas)):
        value[key] = [_INLINE + base64.b64encode(ca).decode() for ca in cas]
    return "".join(comments) + _json(value | {"treaties": n.treaties})


def _uses(n: Nation) -> list[tuple[str, bytes]]:
    return [*(("identity", ca) for ca in n.identity_cas), *(("TLS", ca) for ca in n.tls_cas)]


def _relay_value(p: Party) -> dict[str, Any]:
    plain = {"name": p.name, "nation": p.nation, "address": p.address}
    return plain | {"log_keys": p.log_keys, "witness_keys": p.witness_keys}


def _agency_value(p: Party) -> dict[str, Any]:
    value = {"name": p.name, "nation": p.nation, "relay": p.relay, "domains": [domain_word(d) for d in p.domains]}
    return value | ({"title": p.title} if p.title else {}) | _times(member_from=p.member_from, member_to=p.member_to)


def _group_value(g: Group) -> dict[str, Any]:
    return {"name": g.name, "members": g.members} | _times(valid_from=g.valid_from, valid_to=g.valid_to)


def _times(**moments: datetime | None) -> dict[str, Any]:
    return {key: moment(at) for key, at in moments.items() if at is not None}


def _load(path: Path) -> object:
    raw = read_file(path, next_step="Print a draft to begin with: infoexchange directory template")
    try:
        # A blank line for each comment keeps the line numbers of messages right.
        lines = ["" if line.lstrip().startswith("//") else line for line in raw.decode().splitlines()]
        return json.loads("\n".join(lines), object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise error(
            Reason.MALFORMED,
            field=str(path),
            detail=f"not JSON: {problem}",
            next_step="Correct the draft; `infoexchange directory template` prints one.",
        ) from None


def _suites(draft: Fields) -> tuple[int, ...]:
    texts = draft.texts("suites") or tuple(suite.name for suite in suites.OFFERED)
    return tuple(sorted({_suite(text, f"suites[{i}]") for i, text in enumerate(texts)}))


def _suite(text: str, where: str) -> int:
    """Return the number of a suite that is named; one that this program has no name for is given as a number."""
    known = {suite.name: number for number, suite in suites.SUITES.items()}
    if re.fullmatch(r"0x[0-9a-f]{4}", text) and int(text, 16) not in known.values():
        return int(text, 16)
    if text not in known:
        raise bad(where, f"no suite {text!r}{nearest(text, known)}")
    return known[text]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object in which no key stands twice: of two values a reader may see the one that is not taken."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return value


def _bytes(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise bad(where, "not base64") from None


def _roots(path: Path, draft: Fields) -> Roots:
    value = draft.either("roots")
    if isinstance(value, str):
        raw = _read(path, value, "roots")
        with in_file(path.parent / value):
            return Roots.parse(raw)
    if not isinstance(value, dict):
        raise bad("roots", "not a text that names a file, nor an object { }")
    fields = Fields(value, "roots.")
    keys = []
    for key in fields.objects("keys"):
        public = _bytes(key.take("public", str), f"{key.where}public")
        keys.append(RootKey(public, key.take("holder", str), _suite(key.take("suite", str), f"{key.where}suite")))
        key.close()
    roots = Roots(fields.take("threshold", int), tuple(keys))
    fields.close()
    return Roots.parse(roots.raw)


def _nation(path: Path, fields: Fields) -> Nation:
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


def _cas(path: Path, fields: Fields, key: str) -> tuple[bytes, ...]:
    ders = []
    for i, name in enumerate(fields.texts(key)):
        if name.startswith(_INLINE):
            ders.append(_bytes(name.removeprefix(_INLINE), f"{fields.where}{key}[{i}]"))
            continue
        raw = _read(path, name, f"{fields.where}{key}[{i}]")
        with in_file(path.parent / name):
            ders += certificates.from_pem(raw)
    return tuple(ders)


def _relay(path: Path, value: object, where: str) -> Party:
    """Return a relay that stands in the draft, or in a registration file that the draft names."""
    file = path
    if isinstance(value, str):
        file = path.parent / value
        value = _registration(_read(path, value, where))
        if value is None:
            raise bad(where, f"{file} is not a registration.json of `infoexchange-relay init`")
    elif isinstance(value, dict):
        value = {key: part for key, part in value.items() if (key, part) != ("form", REGISTRATION_FORM)}
    else:
        raise bad(where, "not a text that names a file, nor an object { }")
    fields = Fields(value, f"{where}." if file == path else f"{where}: {file}: ")
    relay = Party(
        name=fields.take("name", str),
        nation=fields.take("nation", str),
        role=Role.RELAY,
        relay=fields.take("name", str),
        address=fields.take("address", str),
        log_keys=fields.texts("log_keys"),
        witness_keys=fields.texts("witness_keys"),
    )
    with in_file(file):
        for text in (*relay.log_keys, *relay.witness_keys):
            VerifierKey.parse(text)  # the listing carries it as text, and would carry a damaged one
    fields.close()
    return relay


def _registration(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.pop("form", None) != REGISTRATION_FORM:
        return None
    return value


def _agency(fields: Fields) -> Party:
    known = {name.removeprefix("DOMAIN_").lower(): number for name, number in catalogue.Domain.items() if number}
    domains = []
    for i, word in enumerate(fields.texts("domains")):
        if word.isascii() and word.isdecimal():  # a domain of a newer catalogue, as `write_draft` writes it
            domains.append(int(word))
            continue
        if word not in known:
            raise bad(f"{fields.where}domains[{i}]", f"no domain {word!r}{nearest(word, known)}")
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


def _group(fields: Fields) -> Group:
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
        raise bad(where, f"{name!r} is not the name of a file")
    return read_file(draft.parent / name, next_step=f"Correct {where} in {draft}; paths are relative to that file.")
