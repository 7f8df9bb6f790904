"""Unpacking: the parts of an evidence file as plain files that foreign tools read (SPEC section Evidence).

Nothing is converted but the wrapping: certificates become PEM, everything else keeps its exact bytes. Beside each
signed object stand the bytes that its signatures cover and the signatures themselves, so that any tool that knows the
algorithm can check them without knowing our formats.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infoexchange.directory import Directory
from infoexchange.dsse import Dsse
from infoexchange.errors import ExchangeError
from infoexchange.listing import DIRECTORY_SIZE_MAX
from infoexchange.log import log_keys
from infoexchange.quorum import policy_for
from infoexchange.receipt import Receipt
from infoexchange.tlog import Policy
from infoexchange.v1 import evidence_pb2

if TYPE_CHECKING:
    from infoexchange.evidence import Evidence

# Implementation constants
_PEM_COLUMNS = 64  # RFC 7468
INDEX = "index.txt"


@dataclass(frozen=True)
class Part:
    """One plain file: its name, its bytes, and what it is in a few words."""

    name: str
    data: bytes = field(repr=False)
    meaning: str


def unpack(evidence: Evidence, directory: Directory | None = None) -> list[Part]:
    """Return every part of an evidence file, none of them verified here; the last one lists them all.

    Args:
        evidence: The parsed file.
        directory: A verified directory, for the witness policies; without one there are none.
    """
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    found: list[Part] = []
    if evidence.envelope is not None:
        found.append(Part("envelope.bin", evidence.envelope.raw, "the envelope as it travelled, sealed"))
    found += _signed("manifest", evidence.manifest.dsse.raw, "what the sender signed")
    for place, receipt in enumerate(evidence.events, 1):
        found += _event(place, receipt)
    if evidence.directory_raw:
        found += _signed("directory", evidence.directory_raw, "the file's own copy of the directory")
    for place, raw in enumerate(message.bundles, 1):
        found += _signed(f"bundle-{place}", raw, f"keys of {evidence.bundles[place - 1].owner}")
    for place, der in enumerate(message.certificates, 1):
        found.append(Part(f"certificate-{place}.pem", _pem("CERTIFICATE", der), "identity certificate"))
    for place, der in enumerate(message.crls, 1):
        found.append(Part(f"crl-{place}.pem", _pem("X509 CRL", der), "revocation list of a national CA"))
    for place, raw in enumerate(message.statements, 1):
        issuer = evidence.statements[place - 1].statement.issuer
        found += _signed(f"statement-{place}", raw, f"statement of {issuer}")
    if evidence.grant is not None:
        found += _signed("grant", evidence.grant.raw, "the grant under which it was passed on")
    for place, transfer in enumerate(message.transfers, 1):
        found += _transfer(place, transfer)
    for place, raw in enumerate(message.disclosures, 1):
        found.append(Part(f"disclosure-{place}.bin", raw, "opened records, with salts and paths"))
    if directory is not None:
        found += _policies(evidence, directory)
    return [*found, Part(INDEX, _index(found), "this list")]


def _signed(name: str, raw: bytes, meaning: str) -> Iterator[Part]:
    """Yield a container, the bytes that its signatures cover, and each signature."""
    yield Part(f"{name}.dsse", raw, meaning)
    try:
        kind = Dsse.type_of(raw, size_max=DIRECTORY_SIZE_MAX)
        dsse = Dsse.parse(raw, payload_type=kind, size_max=DIRECTORY_SIZE_MAX)
    except ExchangeError:
        return  # a directory is not read before its signatures hold; this one never will
    yield Part(f"{name}.payload", dsse.payload, f"payload of {name}.dsse, {kind}")
    covered = "the root of the batch it was signed in" if dsse.batch else "type and payload"
    yield Part(f"{name}.signed", dsse.message, f"exact bytes that its signatures cover: {covered}")
    for place, signature in enumerate(dsse.signatures, 1):
        yield Part(f"{name}.signature-{place}", signature, f"signature {place} over {name}.signed")


def _event(place: int, receipt: Receipt) -> Iterator[Part]:
    """Yield the entry as C2SP tools need it, and what its commitments are made of."""
    said = receipt.routing
    what = f"{said.event.name} by {said.this_relay}, entry {receipt.index}"
    yield Part(f"leaf-{place}.bin", receipt.leaf, f"exact bytes logged: {what}")
    yield Part(f"event-{place}.tlog-proof", receipt.proof.raw, f"C2SP tlog-proof of leaf-{place}.bin")
    yield Part(f"event-{place}.checkpoint", receipt.proof.checkpoint.raw, "C2SP checkpoint in that proof")
    for group, (salt, raw) in receipt.groups.items():
        yield Part(f"event-{place}.{group}", raw, f'group "{group}" of leaf-{place}.bin')
        yield Part(f"event-{place}.{group}.salt", salt, "salt of its commitment")


def _transfer(place: int, transfer: evidence_pb2.Transfer) -> Iterator[Part]:
    """Yield one earlier step of the way that passed-on content has come."""
    name = f"transfer-{place}"
    yield from _signed(f"{name}-manifest", transfer.manifest, f"what the sender of step {place} signed")
    if transfer.grant:
        yield from _signed(f"{name}-grant", transfer.grant, f"the grant of step {place}")
    if transfer.accepted:
        receipt = Receipt.parse(transfer.accepted)
        yield Part(f"{name}-leaf.bin", receipt.leaf, f"exact bytes logged of step {place}")
        yield Part(f"{name}.tlog-proof", receipt.proof.raw, f"C2SP tlog-proof of {name}-leaf.bin")
    if transfer.wrap:
        yield Part(f"{name}-wrap.bin", transfer.wrap, f"wrap of who passed it on after step {place}")


def _policies(evidence: Evidence, directory: Directory) -> Iterator[Part]:
    """Yield the witness policy of each log: a nation's own witness never counts, so they differ."""
    logs = {receipt.routing.this_relay: receipt.proof.checkpoint.origin for receipt in evidence.events}
    for relay, origin in sorted(logs.items()):
        try:
            keys = log_keys(directory, relay, origin)
            rule = policy_for(directory, relay)
        except ExchangeError:
            continue  # a log that the directory does not know; the report says so
        policy = rule if rule.logs else Policy.make(keys, rule.witnesses, rule.groups, rule.quorum)
        yield Part(f"policy-{relay}.txt", policy.raw, f"C2SP tlog-policy for the log of {relay}")


def _pem(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _index(parts: list[Part]) -> bytes:
    width = max(len(part.name) for part in parts)
    return "".join(f"{part.name:{width}}  {part.meaning}\n" for part in parts).encode()
