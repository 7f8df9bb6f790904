"""The specification and the code say the same: tables, names, steps, and every example computed again from its text."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from infoexchange import dsse, errors, suites
from infoexchange.attachment import BlockTree, attachment_key, sealed_length
from infoexchange.audit import Entry, Routing, Subject, commit
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse, pae
from infoexchange.errors import ExchangeError, Reason
from infoexchange.header import Recipient
from infoexchange.keys import KeyUsage
from infoexchange.padding import padme
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.suites import ed25519, promises
from infoexchange.tlog import VerifierKey, merkle
from infoexchange.tlog.checkpoint import checkpoint_text, signed_message
from infoexchange.tlog.note import KeyType
from infoexchange.v1 import (
    audit_pb2,
    bundle_pb2,
    content_pb2,
    directory_pb2,
    disclosure_pb2,
    envelope_pb2,
    evidence_pb2,
    relay_pb2,
)
from infoexchange.wrap import wrap_info

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "infoexchange"
TEXT = (ROOT / "proto" / "SPEC.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
SOURCES = sorted(p for p in LIBRARY.rglob("*.py") if "v1" not in p.parts)
PAGES = [*SOURCES, *sorted((ROOT / "relay").rglob("*.py")), *sorted((ROOT / "proto").rglob("*.proto"))]

# Where a module's numbered comments belong, if its own first lines do not say so.
STEPS_OF = {"suites.suite": "Envelope", "delivery": "Envelope", "tlog.proof": "Notes and proofs"}
# Facts of C2SP formats rather than limits of this one.
NOT_LIMITS = {"tlog.checkpoint.TIME_MAX", "tlog.checkpoint.MLDSA_NAME_MAX", "tlog.tiles.LEVEL_MAX"}
NOT_LIMITS |= {"tlog.tiles.ENTRY_SIZE_MAX"}
MULTIPLES: dict[str, Any] = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MULTIPLES |= {"minutes": timedelta(minutes=1), "day": timedelta(days=1), "days": timedelta(days=1)}


def rows(section: str, columns: int) -> list[list[str]]:
    """The cells of every table row of that many columns, heads and rules left out."""
    found = []
    for line in SECTIONS[section].splitlines():
        cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("|") and len(cells) == columns and not set(line) <= set("|- "):
            found.append(cells)
    return found


def steps(section: str) -> list[int]:
    return [int(number) for number in re.findall(r"^- \*\*\((\d+)\)\*\* ", SECTIONS[section], re.MULTILINE)]


def code(module: str) -> ModuleType:
    return importlib.import_module(f"infoexchange.{module}")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")


def section_at(text: str) -> str | None:
    """The section whose name `text` begins with."""
    return next((name for name in SECTIONS if re.match(re.escape(name) + r"(?!\w)", text)), None)


def test_every_section_that_the_code_refers_to_exists() -> None:
    found = 0
    for page in PAGES:
        for rest in re.findall(r"(?:SPEC|Spec:) section ([^\n]+)|Spec: section ([^\n]+)", page.read_text("utf-8")):
            text = "".join(rest)
            assert section_at(text), f"{page.name}: no section for {text!r}"
            found += 1
    assert found > 30


def test_every_range_of_steps_that_the_code_refers_to_exists() -> None:
    pattern = re.compile(r"section ([A-Z][\w ]*), steps? (\d+)(?: (?:to|and) (\d+))?")
    found = [(page, *groups) for page in PAGES for groups in pattern.findall(page.read_text("utf-8"))]
    assert len(found) > 10
    for page, section, first, last in found:
        assert {int(first), int(last or first)} <= set(steps(section)), f"{page.name}: {section} {first} to {last}"


def test_every_numbered_comment_has_its_step() -> None:
    found = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        comments = re.findall(r"^\s*# (\(\d+\).*)", text, re.MULTILINE)
        numbers = {int(n) for comment in comments for n in re.findall(r"\((\d+)\)", comment)}
        name = module_name(path)
        reference = re.search(r"SPEC section ([^\n]+)", ast.get_docstring(ast.parse(text)) or "")
        section = STEPS_OF.get(name) or (section_at(reference[1]) if reference else None)
        if numbers and section:
            assert numbers <= set(steps(section)), f"{name} has steps that section {section} has not"
            found[name] = section
    expected = {"wire", "directory", "bundle", "envelope", "manifest", "receipt", "acknowledgement", "node.intake"}
    expected |= {"attestation", "approval", "disclosure", "evidence.showing", "node.approvals"}
    expected |= {
        "node.statements",
        "witness",
        "evidence",
        "certificates.leaf",
        "certificates.revocation",
        "keys.sealed",
        "chain",
        "rotation",
        "ledger",
        "suites.suite",
        "suites.composite",
        "tlog.proof",
    }
    expected |= {"grant", "transfer", "origin", "onward", "recall", "node.recalls"}
    expected |= {"record", "exhibit", "inspection", "exported.stamps", "tsa"}
    expected |= {"evidence.inquiry", "evidence.outcome", "misbehaviour"}
    assert expected <= found.keys()


def test_steps_rise_by_one() -> None:
    for name in SECTIONS:
        assert steps(name) == list(range(1, len(steps(name)) + 1)), name


def test_limits_are_the_constants() -> None:
    listed = {}
    for _, constant, value, why in rows("Limits", 4)[1:]:
        module, _, name = constant.rpartition(".")
        number, _, unit = value.partition(" ")
        expected: Any = 2**63 - 1 if value == "2^63 - 1" else int(number) * MULTIPLES[unit]
        assert getattr(code(module), name) == expected, constant
        assert why, constant
        listed[constant] = value
    for module in sorted({constant.rpartition(".")[0] for constant in [*listed, *NOT_LIMITS]}):
        tree = ast.parse(Path(str(code(module).__file__)).read_text(encoding="utf-8"))
        names = [t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")]
        limits = {f"{module}.{name}" for name in names if re.fullmatch(r"[A-Z]\w*_MAX", name)}
        assert limits <= listed.keys() | NOT_LIMITS, module


def test_reasons_are_the_closed_list() -> None:
    table = [(int(number), word, kind) for number, word, kind, means in rows("Reasons", 4)[1:] if means]
    kinds = {reason: type(errors.error(reason)).__name__.removesuffix("Error") for reason in Reason}
    assert table == [(int(reason), reason.word, kinds[reason]) for reason in Reason]


def test_no_other_reason_is_named() -> None:
    words = {reason.word for reason in Reason}
    named = set(re.findall(r"`((?:bad|not|unknown|stale|log|too|rule|mark|directory|suite)_[a-z_]+)`", TEXT))
    fields = {"directory_digest", "not_before_ms", "not_after_ms", "log_keys"}
    assert named <= words | fields
    assert words <= set(re.findall(r"`([a-z_]+)`", SECTIONS["Reasons"]))


def test_states_and_events_are_the_closed_lists() -> None:
    table = [(int(number), name, final) for number, name, final, when in rows("States", 4)[1:] if when]
    assert table == [(int(event), event.name, "yes" if event.final else "no") for event in Event]
    both = rows("States", 6)[1:]
    assert [(int(row[0]), row[1]) for row in both] == [(int(status), status.name) for status in OpStatus]
    assert [(int(row[3]), row[4]) for row in both] == [(int(precedence), precedence.name) for precedence in Precedence]


def test_suites_are_the_registry() -> None:
    *table, national = rows("Suites", 6)[1:]
    found = {int(number, 16): (name, kem, signature) for number, name, kem, _, signature, use in table if use}
    assert found == {n: (s.name, s.sealing.name, s.signing.name) for n, s in suites.SUITES.items()}
    assert [int(end, 16) for end in national[0].split(" to ")] == [suites.NATIONAL[0], suites.NATIONAL[-1]]
    ids = {row[0]: [int(part, 16) for part in row[3].split(", ")] for row in table}
    assert ids == {"0x0001": [32, 1, 2], "0x0002": [0x647A, 1, 2], "0x0003": [0x647A, 1, 2], "0x0004": [0x51, 2, 2]}
    sizes = {row[0]: [int(cell.split(":")[0]) for cell in row[1:]] for row in rows("Suites", 5)[1:]}
    for column, suite in enumerate(suites.SUITES.values()):
        secret, opening = bytes(suite.signing_secret_size), bytes(suite.opening_secret_size)
        made = {len(suite.signer(secret)(bytes([n]))) for n in range(8)}
        wrapped = suite.wrap(suite.opening_public(opening), bytes(32), b"")
        numbers = [sizes[row][column] for row in sizes]
        assert numbers[2] <= min(made) <= max(made) <= numbers[3]
        assert [*numbers[:2], *numbers[4:]] == [
            suite.signing_secret_size,
            len(suite.signing_public(secret)),
            suite.opening_secret_size,
            len(suite.opening_public(opening)),
            len(wrapped),
        ]


def test_composite_labels_and_limits_of_national_suites_are_those_of_the_code() -> None:
    labels = re.findall(r'label = "(COMPSIG-[^"]+)" +OID ([\d.]+), suite 0x(\d+)', SECTIONS["Suites"])
    code_labels = {s.number: s.signing.label.decode() for s in (suites.HYBRID, suites.NIST_HIGH)}  # type: ignore[union-attr]
    assert {int(number, 16): label for label, _, number in labels} == code_labels
    assert [oid for _, oid, _ in labels] == ["1.3.6.1.5.5.7.6.48", "1.3.6.1.5.5.7.6.49"]
    limits = (promises.WRAP_SIZE_MAX, promises.KEY_SIZE_MAX, promises.SIGNATURE_SIZE_MAX)
    text = " ".join(SECTIONS["Suites"].split())
    for limit in limits:
        assert re.search(rf"at most {limit}\b", text), limit
    assert promises.SIGNATURE_SIZE_MAX == dsse.SIGNATURE_SIZE_MAX


def test_types_are_those_of_dsse() -> None:
    prefix = "application/vnd.infoexchange."
    found = {prefix + row[1] for row in rows("Dsse", 3)[1:]}
    assert found == {value for name, value in vars(dsse).items() if name.startswith("TYPE_")}


def test_refused_ed25519_encodings_are_refused() -> None:
    encodings = [bytes.fromhex(row[1]) for row in rows("Ed25519", 2)[1:]]
    assert len({*encodings, *(e[:31] + bytes([e[31] | 0x80]) for e in encodings)}) == 14
    for encoding in encodings:
        for key in (encoding, encoding[:31] + bytes([encoding[31] | 0x80])):
            with pytest.raises(ExchangeError) as caught:
                suites.check_ed25519_key(key)
            assert caught.value.reason is Reason.BAD_CERTIFICATE
    # The two last need no entry of their own: they are not below p.
    numbers = {int.from_bytes(encoding, "little") for encoding in encodings}
    assert {n for n in numbers if n < 2**255 - 19} == ed25519.SMALL_ORDER


def test_fields_named_as_not_covered_exist() -> None:
    modules = (audit_pb2, bundle_pb2, content_pb2, directory_pb2, disclosure_pb2, envelope_pb2, evidence_pb2)
    kinds = {name: kind for m in modules for name, kind in m.DESCRIPTOR.message_types_by_name.items()}
    named = re.findall(r"`([A-Z]\w+)\.(\w+)`", TEXT)
    assert len(named) > 15
    for message, field in named:
        assert message == "Failure" or field in kinds[message].fields_by_name, f"{message}.{field}"


def test_every_rpc_has_its_paragraph() -> None:
    heads = re.findall(r"^\*\*([\w, ]+)\.\*\*", SECTIONS["Services"], re.MULTILINE)
    paragraphs = {name for head in heads for name in head.split(", ")}
    rpcs = {m.name for service in relay_pb2.DESCRIPTOR.services_by_name.values() for m in service.methods}
    assert rpcs == paragraphs


def test_it_names_nothing_outside_the_project() -> None:
    assert not re.search(r"/work|/tmp|/home|/root|design|[a-z-]+\.md\b", TEXT)
    assert all(len(line) <= 120 or line.startswith("|") for line in TEXT.splitlines())


# Examples


def example(title: str) -> dict[str, str]:
    """The names and values of one example."""
    found = re.search(rf"\*\*{title}\.\*\*.*?```\n(.*?)```", SECTIONS["Examples"], re.DOTALL)
    assert found, title
    lines = re.sub(r"\n +", "", found[1]).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(" =") for line in lines)}


def data(title: str) -> dict[str, bytes]:
    """Those values of an example that are bytes."""
    texts = example(title)
    return {n: bytes.fromhex(v) for n, v in texts.items() if re.fullmatch(r"(?:[0-9a-f]{2})+", v)}


def test_example_padme() -> None:
    pairs = re.findall(r"padme\((\d+)\) = (\d+)", SECTIONS["Examples"])
    assert len(pairs) == 10
    assert [padme(int(length)) for length, _ in pairs] == [int(padded) for _, padded in pairs]


def test_example_commitment() -> None:
    texts, x = example("Commitment"), data("Commitment")
    content = Content(texts["schema"], x["payload"], x["salt_seed"], x["thread_id"])
    assert content.raw == x["content"]
    assert len(content.raw) == padme(len(content.raw))
    assert Content.parse(x["content"]) == content
    assert content.records == tuple(x[f"record_{i}"] for i in range(4))
    assert content.commitment(texts["sender"], x["message_id"]) == x["content_commitment"]
    # The same once more from the formulas of the page, without the code.
    salts = hashlib.shake_256(b"infoexchange/v1/salts\x00" + x["salt_seed"]).digest(128)
    records = [x[f"record_{i}"] for i in range(4)]
    leaves = [hashlib.sha256(b"\x00" + salts[32 * i : 32 * i + 32] + r).digest() for i, r in enumerate(records)]
    node = lambda left, right: hashlib.sha256(b"\x01" + left + right).digest()  # noqa: E731
    root = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]))
    assert (salts[:32], leaves[0], root) == (x["salt_0"], x["leaf_0"], x["root"])
    sender = texts["sender"].encode()
    head = b"infoexchange/v1/content-root\x00" + bytes([len(sender)]) + sender + x["message_id"] + bytes(7) + b"\x04"
    assert hashlib.sha256(head + root).digest() == x["content_commitment"]


def test_example_disclosure() -> None:
    texts, x, whole = example("Disclosure"), data("Disclosure"), data("Commitment")
    content = Content(example("Commitment")["schema"], whole["payload"], whole["salt_seed"], whole["thread_id"])
    index, count = int(texts["index"]), int(texts["leaf_count"])
    path = [x["path_0"], x["path_1"]]
    assert (content.salts[index], len(content.records)) == (x["salt_1"], count)
    assert merkle.inclusion_proof(index, content.leaf_hashes) == path
    leaf = disclosure_pb2.DisclosedLeaf(index=index, salt=x["salt_1"], record=content.records[index], path=path)
    assert leaf.SerializeToString(deterministic=True) == x["leaf"]
    # The same once more from the formulas of the page, without the code.
    hashed = hashlib.sha256(b"\x00" + x["salt_1"] + whole["record_1"]).digest()
    left = hashlib.sha256(b"\x01" + path[0] + hashed).digest()
    assert hashlib.sha256(b"\x01" + left + path[1]).digest() == whole["root"]


def test_example_signatures() -> None:
    texts, x = example("Signatures"), data("Signatures")
    seed = data("Commitment")["salt_seed"]
    message = pae(TYPE_MANIFEST, b"abc")
    assert message == texts["PAE"].encode()
    assert Dsse.make(TYPE_MANIFEST, b"abc", []).digest == x["digest"] == hashlib.sha256(message).digest()
    assert suites.HYBRID_KEM.signing_public(seed) == x["public_key"]
    assert suites.HYBRID_KEM.signer(seed)(message) == x["signature_0x0003"]
    suites.HYBRID_KEM.verify(x["public_key"], message, x["signature_0x0003"])
    # A composite made of its halves over M' holds, and only with both contexts in their places.
    label = b"COMPSIG-MLDSA65-Ed25519-SHA512"
    inner = x["M_prime_0x0002"]
    head = b"CompositeAlgorithmSignatures2025" + label + b"\x0finfoexchange/v1"
    assert inner == head + hashlib.sha512(message).digest()
    halves = suites.sign_mldsa65(seed, inner, label) + suites.sign_ed25519(seed, inner)
    suites.HYBRID.verify(suites.HYBRID.signing_public(seed + seed), message, halves)


def test_example_wrap_and_body() -> None:
    texts, x = example("Wrap and body"), data("Wrap and body")
    assert hashlib.sha256(b"header").digest() == x["hh"]
    recipient = Recipient(texts["recipient"], x["bundle_digest"])
    assert wrap_info(suites.HYBRID, x["hh"], recipient, 1) == x["info"]
    assert suites.derive(bytes(32), b"infoexchange/v1/body\x00", x["hh"]) == x["k_body"]


def test_example_attachment() -> None:
    texts, x, hh = example("Attachment"), data("Attachment"), data("Wrap and body")["hh"]
    key = attachment_key(bytes(32), hh, x["attachment_id"])
    assert key.key == x["k_att"]
    assert key.context == b"infoexchange/v1/attachment\x00" + hh + x["attachment_id"]
    tree = BlockTree()
    for piece in (bytes(2**20), b"\x01" * 2**20, b"\x02" * 5):
        tree.update(piece)
    assert tree.root() == x["ct_root"]
    blocks = [hashlib.sha256(b"\x00" + bytes([i]) * n).digest() for i, n in enumerate((2**20, 2**20, 5))]
    node = lambda left, right: hashlib.sha256(b"\x01" + left + right).digest()  # noqa: E731
    assert node(node(*blocks[:2]), blocks[2]) == x["ct_root"]
    pairs = [tuple(map(int, pair.split())) for pair in texts["lengths"].split(", ")]
    assert len(pairs) == 7
    assert all(sealed_length(length) == sealed for length, sealed in pairs)
    assert all(56 + padme(n) + 16 * (padme(n) // 16384 + 1) == sealed for n, sealed in pairs)


def test_example_leaf() -> None:
    x = data("Leaf")
    salts = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
    routing = Routing.parse(x["routing"])
    assert (routing.event, routing.raw) == (Event.LOG_GENESIS, x["routing"])
    assert f"{routing.logged_at:%Y-%m-%dT%H:%MZ}" in SECTIONS["Examples"]
    assert Subject.parse(x["message"]).raw == x["message"]
    entry = Entry(x["routing"], x["message"], b"", salts)
    groups = {"routing": entry.routing, "message": entry.message, "operational": entry.operational}
    for (group, raw), salt in zip(groups.items(), salts, strict=True):
        assert commit(group, salt, raw) == x[f"c_{group}"]
    assert (entry.leaf, entry.leaf_hash) == (x["leaf"], x["leaf_hash"])
    assert len(entry.leaf) == 104


def test_example_checkpoint() -> None:
    texts, x = example("Checkpoint"), data("Checkpoint")
    seed, root = data("Commitment")["salt_seed"], data("Leaf")["leaf_hash"]
    public = suites.public_ed25519(seed)
    log, witness = VerifierKey.parse(texts["log_key"]), VerifierKey.parse(texts["witness_key"])
    assert (log.type, log.public, witness.type, witness.public) == (KeyType.ED25519, public, KeyType(4), public)
    assert checkpoint_text(log.name, 1, root) == x["text"]
    assert suites.sign_ed25519(seed, x["text"]) == x["signature_01"]
    time = int(re.search(r"signed at (\d+) s", SECTIONS["Examples"])[1])  # type: ignore[index]
    assert signed_message(witness, time, log.name, 1, root) == x["signed_04"]
    later = VerifierKey.make(witness.name, KeyType.MLDSA44, suites.public_mldsa44(seed))
    assert signed_message(later, time, log.name, 1, root) == x["M6"]
    assert merkle.root([root]) == root


def test_usages_are_those_of_the_keys_table() -> None:
    for usage in KeyUsage:
        assert f"{usage.name} ({int(usage)})" in SECTIONS["Keys"]
