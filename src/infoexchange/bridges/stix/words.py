"""Words: the fixed ids, paths and vocabularies that reading and writing STIX 2.1 share."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from infoexchange.catalogue import ContextKind, IndicatorType, PatternType, marks

SOURCE = "infoexchange"
# Names derived ids; fixed for ever, so that the same record gets the same id on every export.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:infoexchange:stix")
# Fixed too: a marking means the same whenever it is written.
MARKING_CREATED = "2022-10-01T00:00:00.000Z"
EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
TLP_IDS = {
    "TLP:CLEAR": "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    "TLP:GREEN": "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    "TLP:AMBER": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    "TLP:AMBER+STRICT": "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    "TLP:RED": "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}
LABEL_OF_ID = {identifier: label for label, identifier in TLP_IDS.items()} | {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "TLP:CLEAR",  # TLP 1 WHITE
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "TLP:GREEN",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "TLP:AMBER",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "TLP:RED",
}
TLP_OF_LABEL = {label: number for number, label in marks.TLP_LABELS.items()}

# Object paths of simple patterns, `[path = 'value']`.
PATHS: dict[int, str] = {
    IndicatorType.INDICATOR_TYPE_IPV4: "ipv4-addr:value",
    IndicatorType.INDICATOR_TYPE_IPV6: "ipv6-addr:value",
    IndicatorType.INDICATOR_TYPE_DOMAIN: "domain-name:value",
    IndicatorType.INDICATOR_TYPE_URL: "url:value",
    IndicatorType.INDICATOR_TYPE_EMAIL_ADDRESS: "email-addr:value",
    IndicatorType.INDICATOR_TYPE_EMAIL_SUBJECT: "email-message:subject",
    IndicatorType.INDICATOR_TYPE_FILE_NAME: "file:name",
    IndicatorType.INDICATOR_TYPE_MD5: "file:hashes.MD5",
    IndicatorType.INDICATOR_TYPE_SHA1: "file:hashes.'SHA-1'",
    IndicatorType.INDICATOR_TYPE_SHA256: "file:hashes.'SHA-256'",
    IndicatorType.INDICATOR_TYPE_SHA512: "file:hashes.'SHA-512'",
    IndicatorType.INDICATOR_TYPE_MUTEX: "mutex:name",
    IndicatorType.INDICATOR_TYPE_REGISTRY_KEY: "windows-registry-key:key",
    IndicatorType.INDICATOR_TYPE_MAC: "mac-addr:value",
    # Anything else: syntactically a pattern, understood by nobody but a reader of our references.
    IndicatorType.INDICATOR_TYPE_ASN: "x-infoexchange-asn:value",
    IndicatorType.INDICATOR_TYPE_OTHER: "x-infoexchange-other:value",
}
TYPE_OF_PATH = {path.replace("'", ""): kind for kind, path in PATHS.items()}
SIMPLE = re.compile(r"\s*\[\s*([\w-]+:[\w.'-]+)\s*=\s*'((?:[^'\\]|\\['\\])*)'\s*\]\s*")
STIX_ID = re.compile(r"[a-z0-9-]+--[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
FRACTION = re.compile(r"(\.\d{9})\d+")

PATTERN_TYPES = {
    name.removeprefix("PATTERN_TYPE_").lower(): number
    for name, number in PatternType.items()
    if number not in {PatternType.PATTERN_TYPE_UNSPECIFIED, PatternType.PATTERN_TYPE_OTHER}
}
CONTEXT_TYPES = {
    "campaign": ContextKind.CONTEXT_KIND_CAMPAIGN,
    "malware": ContextKind.CONTEXT_KIND_MALWARE,
    "attack-pattern": ContextKind.CONTEXT_KIND_ATTACK_PATTERN,
    "infrastructure": ContextKind.CONTEXT_KIND_INFRASTRUCTURE,
    "tool": ContextKind.CONTEXT_KIND_TOOL,
}
TYPE_OF_CONTEXT = {kind: name for name, kind in CONTEXT_TYPES.items()}
WITH_KINDS = frozenset({"malware", "infrastructure", "tool"})
# Read from every object, so never noted as not carried.
ALWAYS_READ = frozenset(
    {"type", "spec_version", "id", "created", "modified", "object_marking_refs", "granular_markings", "revoked",
     "external_references", "name", "description", "confidence"}
)  # fmt: skip


def simple_pattern(kind: int, value: str, port: int) -> str:
    """Return the pattern that says a type and value, or nothing where only a reference can say them."""
    if kind not in PATHS:
        return ""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    if port:
        name = PATHS[kind].partition(":")[0]
        end = f"network-traffic:dst_ref.type = '{name}' AND network-traffic:dst_ref.value = '{quoted}'"
        return f"[{end} AND network-traffic:dst_port = {port}]"
    return f"[{PATHS[kind]} = '{quoted}']"


_WITH_PORT = re.compile(
    r"\[network-traffic:dst_ref\.type = '(ipv[46]-addr)' AND network-traffic:dst_ref\.value = '([0-9A-Fa-f.:/]+)'"
    r" AND network-traffic:dst_port = ([1-9][0-9]{0,4})\]"
)


def from_pattern(pattern: str) -> tuple[int, str, int]:
    """Return type, value and port of a simple STIX pattern; PATTERN and nothing for any other."""
    found = SIMPLE.fullmatch(pattern)
    kind = TYPE_OF_PATH.get(found[1].replace("'", "")) if found else None
    if found and kind is not None and found[2]:
        return kind, re.sub(r"\\(.)", r"\1", found[2]), 0
    with_port = _WITH_PORT.fullmatch(pattern)
    if with_port and int(with_port[3]) <= 0xFFFF:
        return TYPE_OF_PATH[f"{with_port[1]}:value"], with_port[2], int(with_port[3])
    return IndicatorType.INDICATOR_TYPE_PATTERN, "", 0


def derived_id(kind: str, *names: str) -> str:
    """Return the STIX id that always belongs to these names."""
    return f"{kind}--{uuid.uuid5(NAMESPACE, json.dumps([kind, *names]))}"


def statement_text(definition: Any) -> str | None:
    """Return what a marking-definition of type statement says, or None."""
    inner = definition.get("definition")
    text = inner.get("statement") if isinstance(inner, dict) else None
    return text if isinstance(text, str) and text.strip() else None
