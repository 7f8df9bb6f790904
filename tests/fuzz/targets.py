"""Targets: every reader of outside bytes, with real objects to begin from and the way to spoil them.

A new `parse` needs one entry in a list below; a test names the one that has none.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

import forked
import submitted
from fuzz import changing, finance, key_files, mending, tables
from fuzz.target import SIZE_MAX, Target, message_of, of, qualified
from fuzz.world import RECIPIENT, SENDER, World
from infoexchange import catalogue, certificates, delivery, hsm, wire
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import GROUPS, Operation, Routing, Subject
from infoexchange.bridges import asam, misp, stix
from infoexchange.bundle import KeyBundle
from infoexchange.catalogue import codes, examples, plain_yaml, text, yaml_text
from infoexchange.cli import draft, rootkey
from infoexchange.cli.register import Register
from infoexchange.content import RECORDS_MAX, Content
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope, Wrap
from infoexchange.errors import ExchangeError
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.header import Header
from infoexchange.keys import Identity
from infoexchange.keys.sealed import SealedFile
from infoexchange.listing import Listing, Roots
from infoexchange.log import LogKeys
from infoexchange.manifest import Manifest
from infoexchange.misbehaviour import Misbehaviour
from infoexchange.origin import Origin
from infoexchange.pruning import RecordsPruned
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.record import LogRecord, parse_records, write_records
from infoexchange.statement import parse_statement
from infoexchange.submission import Submission
from infoexchange.tlog import Checkpoint, Cosignature, Note, Policy, Proof, VerifierKey, tiles
from infoexchange.tlog import text as tlog_text
from infoexchange.tlog.note import Signature
from infoexchange.transfer import Transfer
from infoexchange.transport.http_witness import RequestHead, parse_reply
from infoexchange.tsa import Authorities, TimeStamp
from infoexchange.v1 import audit_pb2, content_pb2, directory_pb2, envelope_pb2, evidence_pb2
from infoexchange.witness import WitnessKeys
from infoexchange_relay import backup, config
from infoexchange_relay.config.bucket import BucketPlace
from kept import MANIFEST
from messages import handling, officer_acknowledgement
from timekeeper import FROZEN, FROZEN_AT, FROZEN_ROOT


def _transfer(raw: bytes) -> Any:
    m = evidence_pb2.Transfer.FromString(raw)
    return Transfer.parse(m.manifest, m.grant, m.accepted, m.wrap)


# Readers that need more than bytes


def _received(world: World, raw: bytes) -> Any:
    content = Content(catalogue.schema_of(officer_acknowledgement()), raw, bytes(32))
    header = world.envelopes[0].header
    return delivery.read(header, content, world.exchange.directory, RECIPIENT, now=world.now)


def _bridged(bridge: Any, world: World, raw: bytes) -> list[Any]:
    return list(bridge.read(raw, handling(domain=0), now=world.now))


def _notice(world: World) -> bytes:
    """A bundle of STIX about a person, marked as `_bridged` expects it."""
    notice: Any = examples.message("PersonNotice")
    notice.handling.CopyFrom(handling(domain=0))
    notice.last_seen_place.point.latitude = notice.last_seen_place.point.longitude = 1.5
    return stix.write([notice], now=world.now)


def _opened(world: World, raw: bytes) -> Any:
    """All that a recipient does with an envelope from the network."""
    members = world.exchange.community.members
    envelope, bundle = Envelope.parse(raw), members[RECIPIENT].bundle
    own = {bundle.digest: bundle}
    return envelope.open(
        members[RECIPIENT].identity, own, world.exchange.directory, members[SENDER].bundle, now=world.now
    )


def _examined(world: World, raw: bytes) -> Any:
    """All that an auditor does with a file from anybody."""
    evidence = Evidence.parse(raw)
    return evidence.verify(world.exchange.directory, now=world.now)


def _proven(world: World, raw: bytes) -> Any:
    """All that is done with a bundle somebody publishes."""
    bundle = world.bundles[0]
    return KeyBundle.parse(raw, bundle.certificates, bundle.crls).verify(world.exchange.directory, now=world.now)


def _in_file(read: Callable[[Path], Any], folder: Path, name: str, beside: Mapping[str, bytes]) -> Callable[..., Any]:
    """Return a reader of bytes from a reader of a file, with what stands beside the file."""
    for place, content in beside.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)

    def reader(raw: bytes) -> Any:
        (folder / name).write_bytes(raw)
        return read(folder / name)

    return reader


_OPERATION = Operation(config=bytes(32), software="1", detail="for a court", data=b"data")
_PRUNED = RecordsPruned("relay.th.example/audit/2026h2", 7, "Archive rule 7: ten years")


def _records(world: World) -> list[bytes]:
    [store, *_] = (node.store for node in world.exchange.nodes.values())
    return [LogRecord.make(r.entry, r.exhibit, GROUPS).raw for r in store.records(range(store.head().size))]


def _protobuf(world: World) -> list[Target]:
    e, envelopes, manifests = envelope_pb2, world.envelopes, [m.manifest.raw for m in world.envelopes]
    statements = [s.raw for s in world.evidence[0].statements]
    wraps, receipts = [w.raw for m in envelopes for w in m.wraps], [r.raw for r in world.receipts]
    routings, subjects = ([getattr(r, part).raw for r in world.receipts] for part in ("routing", "subject"))
    bundles, directory = [bundle.raw for bundle in world.bundles], world.directory
    dsse = functools.partial(Dsse.parse, payload_type=TYPE_MANIFEST, size_max=SIZE_MAX)
    header = functools.partial(wire.parse, e.Header, size_max=SIZE_MAX, field="header")
    resigned = mending.lenient(lambda raw: world.signed_directory(e.Dsse.FromString(raw).payload))
    payload = (directory.listing.payload,)
    origins = [step.raw for step in world.onward.origin()]
    transfers = [wire.canonical(step.transfer.to_wire()) for step in world.onward.origin()]
    transfers += [
        wire.canonical(Transfer.of(m).to_wire()) for m in envelopes if len(m.wraps) == 1 or not m.header.blind
    ]
    return [
        message_of("Envelope", Envelope, e.Envelope, [m.raw for m in envelopes]),
        message_of("Manifest", Manifest, e.Dsse, manifests),
        message_of("Dsse", Dsse, e.Dsse, manifests, read=dsse),
        message_of("Header", Header, e.Header, [m.header.raw for m in envelopes]),
        message_of("Wrap", Wrap, e.RecipientWrap, wraps),
        message_of("Content", Content, content_pb2.Content, [c.raw for c in world.contents],
                 mend=mending.lenient(mending.repadded)),
        message_of("KeyBundle", KeyBundle, e.Dsse, bundles),
        message_of("Listing", Listing, directory_pb2.Directory, payload, raw=lambda found: found.payload),
        message_of("Roots", Roots, directory_pb2.Roots, [world.exchange.community.roots.raw, world.roots.raw]),
        message_of(
            "Directory", Directory, e.Dsse, [directory.raw], mend=resigned,
            read=functools.partial(Directory.parse, roots=world.roots),
        ),
        message_of("Acknowledgement", Acknowledgement, e.Dsse, statements),
        message_of("RecallOrder", RecallOrder, e.Dsse, [world.order.raw]),
        message_of("statement", parse_statement, e.Dsse, [*statements, world.order.raw]),
        message_of("Grant", Grant, e.Dsse, [world.onward.grant.raw]),
        message_of("Origin", Origin, content_pb2.Origin, origins, mend=mending.lenient(mending.regranted)),
        message_of("Transfer", Transfer, evidence_pb2.Transfer, transfers, read=_transfer, raw=None,
                 allowed=(ExchangeError, DecodeError)),
        message_of("Routing", Routing, audit_pb2.AuditRouting, routings),
        message_of("Subject", Subject, audit_pb2.AuditMessage, subjects),
        message_of("Operation", Operation, audit_pb2.AuditOperational, [_OPERATION.raw]),
        message_of("Receipt", Receipt, audit_pb2.Receipt, receipts, mend=mending.lenient(mending.recommitted)),
        message_of("LogRecord", LogRecord, audit_pb2.LogRecord, _records(world)),
        message_of("RecordsPruned", RecordsPruned, audit_pb2.RecordsPruned, [_PRUNED.raw]),
        message_of("Evidence", Evidence, evidence_pb2.Evidence, [v.raw for v in world.evidence],
                 mend=mending.lenient(mending.renamed)),
        message_of("canonical form", wire.parse, e.Header, [m.header.raw for m in envelopes], read=header),
        of("records", wire.top_level_records, [c.payload for c in world.contents],
            read=lambda raw: list(itertools.islice(wire.top_level_records(raw), RECORDS_MAX + 1))),
    ]  # fmt: skip


def _used(world: World) -> list[Target]:
    """What is read and then used at once: the object that passed its reader must not trip what comes next."""
    e, message = envelope_pb2, officer_acknowledgement()
    opened, examined, proven, received = (
        functools.partial(use, world) for use in (_opened, _examined, _proven, _received)
    )
    mine = tuple(m.raw for m in world.envelopes if any(wrap.recipient == RECIPIENT for wrap in m.wraps))
    return [
        Target("Envelope, opened", (), opened, mine, changing.fields(e.Envelope)),
        Target(
            "Evidence, verified", (), examined, tuple(v.raw for v in world.evidence),
            changing.fields(evidence_pb2.Evidence), mending.lenient(mending.renamed),
        ),
        Target("KeyBundle, verified", (), proven, (world.bundles[0].raw,), changing.fields(e.Dsse)),
        Target(
            "message, received", (qualified(delivery.read),), received,
            (message.SerializeToString(deterministic=True),), changing.fields(type(message)),
        ),
    ]  # fmt: skip


def _log(world: World) -> list[Target]:
    community, proofs = world.exchange.community, world.proofs
    notes = [proof.checkpoint.raw for proof in proofs]
    keys = [str(key).encode() for half in (community.log_keys, community.witness_keys) for pair in half.values()
            for key in pair.verifier_keys]  # fmt: skip
    signatures = [line.raw for proof in proofs for line in proof.checkpoint.note.signatures]
    cosigned = [line for line in signatures if b"/witness " in line]
    paths = [tiles.tile_path(0, 0), tiles.tile_path(2, 1234067, 8), tiles.tile_path(tiles.ENTRIES, 5)]
    entries = [tiles.write_entries([b"one", b"", b"x" * 300]), tiles.write_entries([b""] * 3)]
    base64 = [line.rsplit(b" ", 1)[1].strip() for line in signatures] + [b"", b"AA==", b"AAA="]

    def lined(name: str, reader: Any, seeds: Iterable[bytes], **how: Any) -> Target:
        return of(name, reader, seeds, change=changing.lines, **how)

    return [
        lined("Note", Note, notes),
        lined("Checkpoint", Checkpoint, notes),
        lined("Proof", Proof, [proof.raw for proof in proofs]),
        lined("Misbehaviour", Misbehaviour, forked.samples()),
        lined("Submission", Submission, submitted.submissions(notes[:4])),
        lined("HTTP request head", RequestHead, submitted.HEADS),
        lined("HTTP reply", parse_reply, submitted.replies(cosigned),
              read=lambda raw: parse_reply(raw).answer(Submission.make(0, [], notes[0]))),
        lined("Policy", Policy, [*world.policies, b"# nobody\nquorum none\n"]),
        lined("VerifierKey", VerifierKey, keys, read=lambda raw: VerifierKey.parse(_decoded(raw)),
              raw=lambda key: str(key).encode()),
        lined("Signature", Signature, signatures),
        lined("Cosignature", Cosignature, cosigned),
        lined("cosignature lines", Cosignature.parse_all, [b"".join(cosigned[:4])]),
        lined("Tile", tiles.Tile, map(str.encode, paths), read=lambda raw: tiles.Tile.parse(_decoded(raw)),
              raw=lambda tile: tile.path.encode()),
        lined("tile path", tiles.parse_tile_path, map(str.encode, paths),
              read=lambda raw: tiles.parse_tile_path(_decoded(raw))),
        of("tile", tiles.parse_tile, [bytes(96)], read=lambda raw: tiles.parse_tile(raw, 3)),
        of("entries", tiles.parse_entries, entries, read=lambda raw: tiles.parse_entries(raw, 3)),
        of("bundle of records", parse_records, [write_records([b"one", b"", b"x" * 300])],
            read=lambda raw: parse_records(raw, 3), raw=write_records),
        of("decimal", tlog_text.parse_decimal, [b"0", b"9223372036854775807", b"42"],
            read=lambda raw: tlog_text.parse_decimal(raw, field="number"), raw=lambda number: b"%d" % number),
        of("base64", tlog_text.parse_base64, base64, raw=tlog_text.write_base64,
            read=lambda raw: tlog_text.parse_base64(raw, field="base64")),
        of("hash", tlog_text.parse_hash, [tlog_text.write_base64(bytes(range(32)))], raw=tlog_text.write_base64,
            read=lambda raw: tlog_text.parse_hash(raw, field="hash")),
        lined("lines", tlog_text.parse_lines, notes, read=lambda raw: tlog_text.parse_lines(raw, field="lines")),
    ]  # fmt: skip


def _files(world: World, folder: Path) -> list[Target]:
    """Files that people keep, edit or hand to one another."""
    community = world.exchange.community
    root = community.root_keys[0]
    secret, public = rootkey.write_secret(root, "party 1"), rootkey.write_public(root, "party 1")
    ca = community.cas["th"]
    settings = config.settings_file(name="relay.th.example", listen="127.0.0.1:7443").encode()
    drafted = functools.partial(draft.parse_draft, previous=None, previous_digest=b"", now=world.now)
    template = "\n".join(line for line in draft.TEMPLATE.splitlines() if not line.lstrip().startswith("//"))
    log, witness = community.log_keys["relay.th.example"], community.witness_keys["relay.th.example"]
    registration = {
        "form": draft.REGISTRATION_FORM,
        "name": "relay.th.example",
        "nation": "th",
        "address": "127.0.0.1:7443",
        "log_keys": [str(key) for key in log.verifier_keys],
        "witness_keys": [str(key) for key in witness.verifier_keys],
    }
    named = {
        "roots.pb": community.roots.raw,
        "th/ca.pem": certificates.to_pem(ca.certificate),
        "th/registration.json": json.dumps(registration).encode(),
    }

    def treed(name: str, reader: Any, seeds: Iterable[bytes], **how: Any) -> Target:
        return of(name, reader, seeds, change=changing.tree, raw=None, **how)

    return [
        treed("Identity", Identity, [identity.raw for identity in world.identities]),
        treed("sealed file", SealedFile, [key_files.sealed(world)], read=key_files.unsealed),
        of("token URI", hsm.Place, [b"pkcs11:token=a%20b;object=c?module-path=/d.so"], change=changing.lines,
            read=lambda raw: hsm.Place.parse(_decoded(raw))),
        treed("CA register", Register, [key_files.register(world)], read=lambda raw: Register.parse(raw, folder)),
        treed("LogKeys", LogKeys, [keys.raw for keys in community.log_keys.values()]),
        treed("WitnessKeys", WitnessKeys, [keys.raw for keys in community.witness_keys.values()]),
        treed("root key", rootkey.parse_secret, [secret], read=lambda raw: rootkey.parse_secret(raw, field="file")),
        treed("root public key", rootkey.parse_public, [public],
              read=lambda raw: rootkey.parse_public(raw, field="file")),
        treed("draft", draft.parse_draft, [template.encode()], allowed=(ExchangeError, OSError),
              read=_in_file(drafted, folder / "draft", "draft.json", named)),
        treed("relay registration", draft.parse_draft, [named["th/registration.json"]],
              read=_in_file(lambda file: drafted(file.parent.parent / "draft.json"), folder / "registration",
                            "th/registration.json", {**named, "draft.json": template.encode()})),
        of("relay configuration", config.load, [settings], change=changing.lines, allowed=(config.ConfigError,),
            read=_in_file(lambda file: config.load(file, {}), folder, "relay.toml", {"relay.toml": b""})),
        treed("backup manifest", backup.Manifest, [MANIFEST.raw]),
        of("address of a bucket", BucketPlace, [b"s3://attachments/relay-th"], allowed=(ValueError,), raw=None,
            read=lambda raw: BucketPlace.parse(_decoded(raw))),
        of("relay address", config.parse_address, [b"127.0.0.1:7443", b"[::1]:0"], allowed=(ValueError,),
            read=lambda raw: config.parse_address(_decoded(raw))),
        of("certificate", certificates.load, community.members[SENDER].certificates,
            read=lambda raw: certificates.name_of(certificates.load(raw))),
        of("leaf certificate", certificates.verify_leaf, community.members[SENDER].certificates,
            read=lambda raw: certificates.verify_leaf(raw, (ca.certificate,), world.now)),
        of("revocation list", certificates.newest_list, [community.members[SENDER].crl],
            read=lambda raw: certificates.newest_list([raw], [ca.certificate])),
        of("PEM certificates", certificates.from_pem, [certificates.to_pem(ca.certificate)]),
        of("TimeStamp", TimeStamp, [FROZEN], raw=lambda found: found.raw),
        of("TimeStamp, verified", TimeStamp, [FROZEN], raw=None,
            read=lambda raw: TimeStamp.parse(raw).verify(b"hello", Authorities.parse(FROZEN_ROOT), now=FROZEN_AT)),
        of("Authorities", Authorities, [FROZEN_ROOT], raw=None),
        of("CA certificate file", certificates.NationalCa, [certificates.to_pem(ca.certificate)],
            read=lambda raw: certificates.NationalCa.parse(ca.key_pem, raw), raw=None),
        of("CA key file", certificates.NationalCa, [ca.key_pem],
            read=lambda raw: certificates.NationalCa.parse(raw, certificates.to_pem(ca.certificate)), raw=None),
        of("TLS key file", certificates.tls_request, [certificates.tls_key()],
            read=lambda raw: certificates.tls_request(SENDER, raw)),
        of("signing request", certificates.NationalCa.issue, _requests(world),
            read=lambda raw: ca.issue(raw, now=world.now)),
    ]  # fmt: skip


def _requests(world: World) -> Sequence[bytes]:
    identity = world.identities[0]
    return certificates.identity_requests(identity.name, identity.key)


_FLOW = b"# what YAML can do more\na: [1, {b: 'c', d: \"\\u00e9\"}]\ne: |2-\n    f\n  g\nh: >+\n  i\n\nj: ~\nk:\n"


def _foreign(world: World) -> list[Target]:
    """Formats of others, and messages as JSON and YAML."""
    written = json.loads(text.to_json(officer_acknowledgement()))
    schema = catalogue.schema_of(officer_acknowledgement())
    listed = b"pirates,1,source\nvalue,meaning\nboarded,BOARDED\nfired upon,FIRED_UPON\n"

    def message(raw: bytes) -> Any:
        return text.from_json(schema, _decoded(raw))

    return [
        of("MISP event", misp.read, [examples.read("event.misp.json")], change=changing.tree,
            read=functools.partial(_bridged, misp, world)),
        of("STIX bundle", stix.read, [examples.read("indicators.stix.json"), _notice(world)], change=changing.tree,
            read=functools.partial(_bridged, stix, world)),
        *tables.targets(world, _bridged),
        *finance.targets(world),
        of("anti-shipping activity", asam.read, [examples.read("asam.json")], change=changing.tree,
            read=functools.partial(_bridged, asam, world)),
        of("message as YAML", yaml_text.from_yaml, [yaml_text.to_yaml(officer_acknowledgement()).encode()],
            change=changing.lines, read=lambda raw: yaml_text.from_yaml(schema, _decoded(raw))),
        of("plain YAML", plain_yaml, [yaml_text.to_yaml(officer_acknowledgement()).encode(), _FLOW],
            change=changing.lines, read=lambda raw: plain_yaml.parse(_decoded(raw)), raw=None),
        of("message as JSON", text.from_json, [json.dumps(written).encode()], change=changing.tree, read=message),
        of("code list", codes.parse, [listed], change=changing.lines,
            read=lambda raw: codes.parse(_decoded(raw).splitlines())),
    ]  # fmt: skip


def _decoded(raw: bytes) -> str:
    """Any bytes as a text, as Python gives what it cannot read."""
    return raw.decode("utf-8", "surrogateescape")


def all_targets(world: World, folder: Path) -> dict[str, Target]:
    """Return every target by name; readers of files get theirs in `folder`."""
    from fuzz import disclosed, formed, marked_up, pouched  # which make their targets with what stands here

    found = [*_protobuf(world), *_used(world), *_log(world), *_files(world, folder), *_foreign(world)]
    found += disclosed.targets(world)
    found += formed.targets(world)
    found += marked_up.targets(world)
    found += pouched.targets(world)
    return {target.name: target for target in found}
