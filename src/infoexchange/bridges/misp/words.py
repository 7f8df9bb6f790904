"""Words: which attribute of MISP says what, and the ids, that reading and writing share."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from infoexchange.catalogue import ContextKind, DigitalIndicator, IndicatorType, PatternType

# Names derived ids; fixed for ever, so that the same record gets the same id on every export.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:infoexchange:misp")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Comment of the attributes that hold what MISP has no place for, with their number and how many there are.
OWN = re.compile(r"infoexchange ([0-9]{1,6}) of ([0-9]{1,6})")
# MISP keeps an attribute's value in 65,535 bytes.
PART_MAX = 60_000
# In `indicator_types`, an open vocabulary: the originator does not want the value to be searched for by machines.
NOT_FOR_DETECTION = "not-for-detection"


class Native(NamedTuple):
    """The attribute of MISP a record is written as."""

    type: str
    value: str
    category: str


# Types of ours and the attribute they are written as: with one value, and none of its parts.
TYPES: dict[int, tuple[str, str]] = {
    IndicatorType.INDICATOR_TYPE_IPV4: ("ip-dst", "Network activity"),
    IndicatorType.INDICATOR_TYPE_IPV6: ("ip-dst", "Network activity"),
    IndicatorType.INDICATOR_TYPE_DOMAIN: ("domain", "Network activity"),
    IndicatorType.INDICATOR_TYPE_URL: ("url", "Network activity"),
    IndicatorType.INDICATOR_TYPE_EMAIL_ADDRESS: ("email-src", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_EMAIL_SUBJECT: ("email-subject", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_FILE_NAME: ("filename", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_MD5: ("md5", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_SHA1: ("sha1", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_SHA256: ("sha256", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_SHA512: ("sha512", "Payload delivery"),
    IndicatorType.INDICATOR_TYPE_MUTEX: ("mutex", "Artifacts dropped"),
    IndicatorType.INDICATOR_TYPE_REGISTRY_KEY: ("regkey", "Persistence mechanism"),
    IndicatorType.INDICATOR_TYPE_MAC: ("mac-address", "Network activity"),
    IndicatorType.INDICATOR_TYPE_ASN: ("AS", "Network activity"),
}
# Further attributes that are read as one of our types.
ALSO_READ: dict[str, Any] = {
    "ip-src": IndicatorType.INDICATOR_TYPE_IPV4,
    "hostname": IndicatorType.INDICATOR_TYPE_DOMAIN,
    "onion-address": IndicatorType.INDICATOR_TYPE_DOMAIN,
    "email": IndicatorType.INDICATOR_TYPE_EMAIL_ADDRESS,
    "email-reply-to": IndicatorType.INDICATOR_TYPE_EMAIL_ADDRESS,
    "email-attachment": IndicatorType.INDICATOR_TYPE_FILE_NAME,
    "mac-eui-64": IndicatorType.INDICATOR_TYPE_MAC,
}
READ: dict[str, Any] = {name: number for number, (name, _) in reversed(TYPES.items())} | ALSO_READ
# Reading loses which side of a connection an address was on; a person should know.
DIRECTED = frozenset({"ip-src", "ip-src|port"})
WITH_PORT = frozenset({"ip-dst|port", "ip-src|port"})
# One attribute that names two things.
PAIRS: dict[str, str] = {"domain|ip": "resolves-to"} | {
    f"filename|{name}": "related-to" for name in ("md5", "sha1", "sha256", "sha512")
}
PATTERNS: dict[int, str] = {
    PatternType.PATTERN_TYPE_STIX: "stix2-pattern",
    PatternType.PATTERN_TYPE_SIGMA: "sigma",
    PatternType.PATTERN_TYPE_SNORT: "snort",
    PatternType.PATTERN_TYPE_SURICATA: "suricata",
    PatternType.PATTERN_TYPE_YARA: "yara",
}
_PATTERN_CATEGORIES = {"snort": "Network activity", "suricata": "Network activity", "other": "Other"}
PATTERN_OF: dict[str, Any] = {name: number for number, name in PATTERNS.items()}
# Technical values without a type of ours: read as OTHER with the name in `type_text`, written back under that name.
# What may name a person, an account or a victim is not here, and is therefore never read.
OTHERS: dict[str, str] = {
    "uri": "Network activity", "user-agent": "Network activity", "http-method": "Network activity",
    "cookie": "Network activity", "hostname|port": "Network activity", "ja3-fingerprint-md5": "Network activity",
    "jarm-fingerprint": "Network activity", "favicon-mmh3": "Network activity", "hassh-md5": "Network activity",
    "hasshserver-md5": "Network activity", "community-id": "Network activity", "ssh-fingerprint": "Network activity",
    "x509-fingerprint-md5": "Network activity", "x509-fingerprint-sha1": "Network activity",
    "x509-fingerprint-sha256": "Network activity", "zeek": "Network activity", "bro": "Network activity",
    "pattern-in-traffic": "Network activity", "pattern-in-file": "Payload installation",
    "pattern-in-memory": "Payload installation", "filename-pattern": "Payload installation",
    "kusto-query": "Artifacts dropped", "pdb": "Artifacts dropped", "named pipe": "Artifacts dropped",
    "windows-scheduled-task": "Artifacts dropped", "windows-service-name": "Artifacts dropped",
    "windows-service-displayname": "Artifacts dropped", "regkey|value": "Persistence mechanism",
    "email-x-mailer": "Payload delivery", "email-mime-boundary": "Payload delivery", "cpe": "Payload delivery",
    "vulnerability": "Payload delivery", "weakness": "Payload delivery", "mobile-application-id": "Payload delivery",
    "chrome-extension-id": "Payload delivery", "edge-extension-id": "Payload delivery",
} | dict.fromkeys(
    ("ssdeep", "imphash", "telfhash", "impfuzzy", "authentihash", "vhash", "pehash", "tlsh", "cdhash", "sha224",
     "sha384", "sha512/224", "sha512/256", "sha3-224", "sha3-256", "sha3-384", "sha3-512"), "Payload delivery",
)  # fmt: skip
# Categories about people and organisations: nothing in them is read but the names of campaigns.
PERSONAL = frozenset({"Attribution", "Financial fraud", "Person", "Social network", "Targeting data"})
CONTEXTS: dict[int, tuple[str, str]] = {
    ContextKind.CONTEXT_KIND_CAMPAIGN: ("campaign-name", "Attribution"),
    ContextKind.CONTEXT_KIND_MALWARE: ("malware-type", "Payload delivery"),
}
KIND_OF_CONTEXT = {name: kind for kind, (name, _) in CONTEXTS.items()}
_DIGITS = {8: 32, 9: 40, 10: 64, 11: 128}  # hexadecimal digits of the hashes


def native(record: Any) -> Native:
    """Return the attribute that says what an indicator says, as far as MISP has one."""
    if record.type == IndicatorType.INDICATOR_TYPE_PATTERN:
        name = PATTERNS.get(record.pattern_type, "other")
        return Native(name, record.pattern, _PATTERN_CATEGORIES.get(name, "Payload installation"))
    if record.type in TYPES:
        name, category = TYPES[record.type]
        if record.port:
            return Native(f"{name}|port", f"{record.value}|{record.port}", category)
        return Native(name, record.value, category)
    known = record.type_text if record.type_text in OTHERS else ""
    return Native(known or "other", record.value, OTHERS.get(known, "Other"))


def meaning(name: str, value: str) -> Any:
    """Return the indicator that an attribute says, without an id; None where it says none."""
    found = DigitalIndicator(value=value)
    if name in PATTERN_OF:
        found = DigitalIndicator(pattern=value, pattern_type=PATTERN_OF[name])
        found.type = IndicatorType.INDICATOR_TYPE_PATTERN
        return found
    if name in WITH_PORT:
        address, _, port = value.rpartition("|")
        if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 0xFFFF:
            return None
        found.value, found.port = address, int(port)
        name = "ip-dst"
    if name in OTHERS:
        found.type, found.type_text = IndicatorType.INDICATOR_TYPE_OTHER, name
        return found
    if name not in READ:
        return None
    found.type = READ[name]
    if found.type == IndicatorType.INDICATOR_TYPE_IPV4 and ":" in found.value:
        found.type = IndicatorType.INDICATOR_TYPE_IPV6
    return found


def is_read(name: str) -> bool:
    """Tell whether attributes of this type are read as indicators."""
    return name in PATTERN_OF or name in WITH_PORT or name in OTHERS or name in READ


def is_shaped(record: Any) -> bool:
    """Tell whether a value has the shape its type demands, so that one bad value does not spoil a whole event."""
    if record.type in _DIGITS:
        return bool(re.fullmatch(f"[0-9a-fA-F]{{{_DIGITS[record.type]}}}", record.value))
    if record.type == IndicatorType.INDICATOR_TYPE_ASN:
        return bool(re.fullmatch("(AS)?[0-9]{1,10}", record.value))
    if record.type in {IndicatorType.INDICATOR_TYPE_IPV4, IndicatorType.INDICATOR_TYPE_IPV6}:
        version = 4 if record.type == IndicatorType.INDICATOR_TYPE_IPV4 else 6
        if not re.fullmatch("[0-9A-Fa-f.:]+(/[0-9]{1,3})?", record.value):
            return False
        try:
            return ipaddress.ip_network(record.value, strict=False).version == version
        except ValueError:
            return False
    return bool(record.value or record.pattern)


def native_context(record: Any) -> Native:
    """Return the attribute that names what indicators point to."""
    name, category = CONTEXTS.get(record.kind, ("text", "Other"))
    return Native(name, record.name, category)


def derived(*names: str) -> str:
    """Return the id that always belongs to these names."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(names)))


def ids(number: str, records: Iterable[Any]) -> list[str]:
    """Return the ids of the attributes of records, in their order: their own where it is one, else derived."""
    found: list[str] = []
    taken: set[str] = set()
    for record in records:
        own = record.local_id.rpartition("--")[2]
        identifier = own if UUID.fullmatch(own) and own not in taken else derived(number, record.local_id)
        taken.add(identifier)
        found.append(identifier)
    return found
