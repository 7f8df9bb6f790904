"""Entries: what is done with the blocks of a vector, each by the part of the library that an application would use."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from infoexchange import certificates, suites, wire
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.approval import Approval
from infoexchange.attachment import AttachmentRef, Block, verify_block
from infoexchange.attestation import Attestation
from infoexchange.audit import Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.disclosure import Disclosure
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.header import Header
from infoexchange.keys.sealed import SealedFile
from infoexchange.listing import Listing, Roots
from infoexchange.manifest import Manifest
from infoexchange.origin import Origin
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.tlog import Checkpoint, Cosignature, Note, Policy, Proof, VerifierKey, merkle
from infoexchange.transport import status
from infoexchange.verdict import Check, Verdict
from infoexchange.wrap import Wrap
from vector_parties import PARTIES, named, world_of

if TYPE_CHECKING:
    from vectors import Vector


def _parser(parse: Callable[[bytes], object]) -> Callable[[Vector], str]:
    def run(vector: Vector) -> str:
        [raw] = vector.blocks
        parse(raw)
        return "ok"

    return run


def _records(vector: Vector) -> str:
    return str(len(list(wire.top_level_records(vector.blocks[0]))))


def _ed25519(vector: Vector) -> str:
    suites.verify_ed25519(*vector.blocks)
    return "ok"


def _ed25519_key(vector: Vector) -> str:
    suites.check_ed25519_key(vector.blocks[0])
    return "ok"


def _signature(vector: Vector) -> str:
    suites.suite_of(int(vector.headers["suite"], 16)).verify(*vector.blocks)
    return "ok"


def _unwrap(vector: Vector) -> str:
    secret, info, wrapped = vector.blocks
    return suites.suite_of(int(vector.headers["suite"], 16)).opener(secret)(wrapped, info).hex()


def _body(vector: Vector) -> str:
    key, context, ciphertext = vector.blocks
    return sha256(suites.decrypt_body(key, context, ciphertext)).hexdigest()


def _commitment(vector: Vector) -> str:
    raw, message_id = vector.blocks
    return Content.parse(raw).commitment(vector.headers["party"], message_id).hex()


def _inclusion(vector: Vector) -> str:
    leaf, root, *proof = vector.blocks
    merkle.verify_inclusion(leaf, int(vector.headers["index"]), int(vector.headers["size"]), proof, root)
    return "ok"


def _consistency(vector: Vector) -> str:
    root1, root2, *proof = vector.blocks
    merkle.verify_consistency(int(vector.headers["index"]), root1, int(vector.headers["size"]), root2, proof)
    return "ok"


def _directory(vector: Vector) -> str:
    roots, raw = vector.blocks
    directory = Directory.parse(raw, roots=Roots.parse(roots))
    directory.check_current(vector.now)
    return directory.digest.hex()


def _succession(vector: Vector) -> str:
    roots, before, after = vector.blocks
    return Directory.parse(before, roots=Roots.parse(roots)).succeed(after).digest.hex()


def _bundle(vector: Vector) -> str:
    raw, first, second, *crls = vector.blocks
    bundle = KeyBundle.parse(raw, [first, second], crls)
    bundle.verify(world_of(vector).directory, now=vector.now)
    return bundle.digest.hex()


def _verify(vector: Vector) -> str:
    envelope = Envelope.parse(vector.blocks[0])
    header, known = envelope.header, world_of(vector)
    bundle = named(header.sender, bundles=known.bundles, field="header.sender_bundle", digest=header.sender_bundle)
    envelope.verify(known.directory, bundle, now=vector.now)
    return envelope.digest.hex()


def _statement(vector: Vector) -> str:
    acknowledgement = Acknowledgement.parse(vector.blocks[0])
    said, known = acknowledgement.statement, world_of(vector)
    bundle = named(said.issuer, bundles=known.bundles, field="issuer_bundle", digest=said.issuer_bundle)
    acknowledgement.verify(known.directory, bundle, suites.suite_of(int(vector.headers["suite"], 16)))
    return acknowledgement.digest.hex()


def _recall(vector: Vector) -> str:
    order, known = RecallOrder.parse(vector.blocks[0]), world_of(vector)
    said = order.statement
    bundle = named(said.issuer, bundles=known.bundles, field="recall.issuer_bundle", digest=said.issuer_bundle)
    order.verify(known.directory, bundle)
    return order.digest.hex()


def _receipt(vector: Vector) -> str:
    receipt = Receipt.parse(vector.blocks[0])
    receipt.verify(world_of(vector).directory)
    return receipt.routing.event.name


def _attestation(vector: Vector) -> str:
    raw, envelope = vector.blocks
    attestation, known = Attestation.parse(raw), world_of(vector)
    where = "attestation.signer_bundle"
    bundle = named(attestation.signer, bundles=known.bundles, field=where, digest=attestation.signer_bundle)
    attestation.verify(known.directory, bundle, Envelope.parse(envelope).header)
    return attestation.dsse.digest.hex()


def _disclosure(vector: Vector) -> str:
    disclosure, known = Disclosure.parse(vector.blocks[0]), world_of(vector)
    header = disclosure.manifest.header
    bundle = named(header.sender, bundles=known.bundles, field="header.sender_bundle", digest=header.sender_bundle)
    disclosure.verify(known.directory, bundle)
    return disclosure.digest.hex()


def _approval(vector: Vector) -> str:
    approval, known = Approval.parse(vector.blocks[0]), world_of(vector)
    said = approval.statement
    bundle = named(said.issuer, bundles=known.bundles, field="approval.issuer_bundle", digest=said.issuer_bundle)
    approval.verify(known.directory, bundle, suites.suite_of(int(vector.headers["suite"], 16)))
    return approval.digest.hex()


def _grant(vector: Vector) -> str:
    raw, covered = vector.blocks
    grant, known = Grant.parse(raw), world_of(vector)
    terms = grant.terms
    where = "grant.originator_bundle"
    bundle = named(terms.originator, bundles=known.bundles, field=where, digest=terms.originator_bundle)
    grant.verify(known.directory, bundle)
    envelope = Envelope.parse(covered)
    names = {r.name for r in envelope.header.recipients} | {wrap.recipient for wrap in envelope.wraps}
    grant.check_covers(envelope.header.sender, names, at=[envelope.header.created_at])
    return grant.digest.hex()


# Findings of an evidence file by the beginning of their names, and the steps that give them.
FINDINGS = {"directory": 3, "sender's keys": 4, "sender's certificate": 4, "sender's signature": 5, "event": 6}
FINDINGS |= {"disclosure ": 11, "approval ": 12}
FINDINGS |= {
    "statement": 7,
    "recall by": 7,
    "recall for": 8,
    "accepted": 8,
    "outcome": 8,
    "checkpoints": 9,
    "passed on": 10,
}


def _evidence(vector: Vector) -> str:
    """Examine a file under the directory that the auditor holds, or under its own; the first failed finding decides."""
    raw, *held = vector.blocks
    evidence, roots = Evidence.parse(raw), world_of(vector).roots
    directory = Directory.parse(held[0], roots=roots) if held else evidence.directory(roots)
    report = evidence.verify(directory, now=vector.now)
    failed = {_step_of(c): c for c in reversed(report.checks) if c.verdict is Verdict.TOTAL_FAILED}
    if failed:
        check = failed[min(failed)]
        if vector.headers["step"] != f"Evidence {min(failed)}":
            raise ValueError(f"{vector.name}: steps {sorted(failed)} failed")
        raise error(Reason[check.reason.upper()], field=f"steps {sorted(failed)}", detail=check.detail)
    steps = sorted({_step_of(check) for check in report.checks if check.verdict is Verdict.INDETERMINATE})
    return " ".join([report.verdict.word, *map(str, steps)])


def _step_of(check: Check) -> int:
    if check.name.startswith("disclosure ") and check.name.endswith(" approved"):
        return 13
    [step] = {step for name, step in FINDINGS.items() if check.name.startswith(name)}
    return step


def _sealed(vector: Vector) -> str:
    raw, passphrase = vector.blocks
    file = SealedFile.parse(raw)
    return sha256(file.open_with(file.seal_of(passphrase.decode()))).hexdigest()


def _checkpoint(vector: Vector) -> str:
    raw, *keys = vector.blocks
    checkpoint = Checkpoint.parse(raw)
    checkpoint.verify(tuple(VerifierKey.parse(key.decode()) for key in keys))
    return str(checkpoint.size)


def _certificate(vector: Vector) -> str:
    der, ca, *crls = vector.blocks
    found = certificates.verify_leaf(der, (ca,), vector.now)
    certificates.check_not_revoked(found, crls, (ca,), vector.now)
    return found.name


def _proof(vector: Vector) -> str:
    raw, leaf, *keys = vector.blocks
    proof = Proof.parse(raw)
    proof.verify(leaf, vector.headers["party"], tuple(VerifierKey.parse(key.decode()) for key in keys))
    return str(proof.index)


def _status(vector: Vector) -> str:
    found = status._described(vector.blocks[0])
    assert found is not None
    raise found


def _block(vector: Vector) -> str:
    root, data, *path = vector.blocks
    index = int(vector.headers["index"])
    ref = AttachmentRef(bytes(16), int(vector.headers["size"]), root)
    verify_block(ref, index, Block(index, data, tuple(path)))
    return "ok"


ENTRIES: dict[str, Callable[[Vector], str]] = PARTIES | {
    "attachment.block": _block,
    "attestation.parse": _parser(Attestation.parse),
    "attestation.verify": _attestation,
    "disclosure.parse": _parser(Disclosure.parse),
    "disclosure.verify": _disclosure,
    "approval.parse": _parser(Approval.parse),
    "approval.verify": _approval,
    "envelope.parse": _parser(Envelope.parse),
    "manifest.parse": _parser(Manifest.parse),
    "header.parse": _parser(Header.parse),
    "wrap.parse": _parser(Wrap.parse),
    "dsse.parse": _parser(lambda raw: Dsse.parse(raw, payload_type=TYPE_MANIFEST, size_max=2**20)),
    "content.parse": _parser(Content.parse),
    "records": _records,
    "bundle.parse": _parser(KeyBundle.parse),
    "listing.parse": _parser(Listing.parse),
    "roots.parse": _parser(Roots.parse),
    "acknowledgement.parse": _parser(Acknowledgement.parse),
    "grant.parse": _parser(Grant.parse),
    "origin.parse": _parser(Origin.parse),
    "recall.parse": _parser(RecallOrder.parse),
    "routing.parse": _parser(Routing.parse),
    "subject.parse": _parser(Subject.parse),
    "receipt.parse": _parser(Receipt.parse),
    "evidence.parse": _parser(Evidence.parse),
    "note.parse": _parser(Note.parse),
    "checkpoint.parse": _parser(Checkpoint.parse),
    "cosignature.parse": _parser(Cosignature.parse),
    "proof.parse": _parser(Proof.parse),
    "policy.parse": _parser(Policy.parse),
    "verifier-key.parse": _parser(lambda raw: VerifierKey.parse(raw.decode("utf-8", "surrogateescape"))),
    "ed25519.verify": _ed25519,
    "ed25519.key": _ed25519_key,
    "signature.verify": _signature,
    "wrap.unwrap": _unwrap,
    "body.decrypt": _body,
    "content.commitment": _commitment,
    "merkle.inclusion": _inclusion,
    "merkle.consistency": _consistency,
    "directory.verify": _directory,
    "directory.succeed": _succession,
    "bundle.verify": _bundle,
    "envelope.verify": _verify,
    "acknowledgement.verify": _statement,
    "receipt.verify": _receipt,
    "grant.verify": _grant,
    "evidence.verify": _evidence,
    "checkpoint.verify": _checkpoint,
    "certificate.verify": _certificate,
    "proof.verify": _proof,
    "status.read": _status,
    "sealed.open": _sealed,
    "recall.verify": _recall,
}
