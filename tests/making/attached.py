"""Attached: files that go with messages, in manifest and content, block by block, and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from infoexchange import suites
from infoexchange.attachment import AttachmentMeta, AttachmentRef, BlockTree, attachment_key
from infoexchange.attachment.blocks import block_hash, path_of
from infoexchange.content import Content
from infoexchange.envelope import Envelope
from infoexchange.padding import padme
from infoexchange.tlog import merkle
from infoexchange.v1 import content_pb2, envelope_pb2
from making.case import Case, at, canonical, changed, clear, edit, put, within
from making.envelopes import Envelopes, message
from making.onward import Onward
from making.world import NOW, RECIPIENT, SCHEMA, SENDER, Makers, Worlds

Change = Callable[[Any], object]
ID = bytes(range(16))
BLOCK = 2**20


def described(plaintext: bytes, **others: Any) -> AttachmentMeta:
    """Return what the content says of a file."""
    fields = {"attachment_id": ID, "name": "map.png", "media_type": "image/png", "length": len(plaintext)}
    return AttachmentMeta(**{**fields, "sha256": sha256(plaintext).digest(), **others})  # type: ignore[arg-type]


def referred(ciphertext: bytes, attachment_id: bytes = ID) -> AttachmentRef:
    """Return what the manifest says of a ciphertext."""
    tree = BlockTree()
    tree.update(ciphertext)
    return AttachmentRef(attachment_id, tree.length, tree.root())


class Attached:
    """An envelope with attachments, and their ciphertexts."""

    def __init__(self, makers: Makers, *files: tuple[AttachmentMeta, bytes], sealed_as: bytes = b"") -> None:
        """Seal what is described, whatever it is; under the id `sealed_as`, if one is given."""
        self.ciphertexts: list[bytes] = []

        def enclose(content_key: bytes, header_digest: bytes) -> Sequence[AttachmentRef]:
            refs = []
            for meta, padded in files:
                key = attachment_key(content_key, header_digest, sealed_as or meta.attachment_id)
                self.ciphertexts.append(suites.encrypt_body(key.key, key.context, padded))
                refs.append(referred(self.ciphertexts[-1], meta.attachment_id))
            return refs

        content = Content.make(SCHEMA, message(), attachments=tuple(meta for meta, _ in files))
        keys, bundle = makers.members[SENDER].identity.epochs[0], makers.members[RECIPIENT].bundle
        self.envelope = Envelope.seal(content, makers.header(), [bundle], keys, enclose=enclose)


def padded(plaintext: bytes) -> bytes:
    """Return a plaintext with the zeros that hide its length."""
    return plaintext.ljust(padme(len(plaintext)), b"\x00")


def manifests(a: Attached) -> Iterator[Case]:
    """Yield envelopes whose references step (1) refuses."""
    payload = a.envelope.manifest.dsse.payload

    def case(name: str, expect: str, comment: str, change: Change) -> Case:
        inner = changed(envelope_pb2.Manifest, payload, change)
        raw = changed(envelope_pb2.Envelope, a.envelope.raw, lambda w: setattr(w.manifest, "payload", inner))
        return Case(f"attachment-{name}", "envelope.parse", expect, (raw,), comment, "Attachment 1")

    def more(count: int) -> Change:
        return lambda m: [m.attachments.add().CopyFrom(m.attachments[0]) for _ in range(count)]

    for name, comment, change in (
        ("ref-id", "an id of 15 bytes", within("attachments", put(attachment_id=bytes(15)))),
        ("ref-twice", "one id twice", more(1)),
        ("ref-blocks", "blocks of 2 MiB", within("attachments", put(block_log2=21))),
        ("ref-root", "a root of 31 bytes", within("attachments", put(ct_root=bytes(31)))),
        (
            "ref-length",
            "a length that sealing does not give",
            within("attachments", edit("ct_length", lambda n: n + 1)),
        ),
        ("ref-length-0", "no length", within("attachments", clear("ct_length"))),
    ):
        yield case(name, "bad_field", comment, change)
    yield case("ref-65", "too_large", "65 references", more(64))
    yield case("ref-large", "too_large", "over 1026 GiB", within("attachments", put(ct_length=1026 * 2**30 + 1)))


def contents() -> Iterator[Case]:
    """Yield content whose descriptions step (2) refuses."""
    good = Content.make(SCHEMA, message(), attachments=(described(b"a file"),))

    def case(name: str, expect: str, comment: str, change: Change) -> Case:
        raw = changed(content_pb2.Content, good.raw, change)
        return Case(f"attachment-{name}", "content.parse", expect, (raw,), comment, "Attachment 2")

    names = Content.make(SCHEMA, message(), attachments=(described(b"", name="bản đồ 地图.pdf"),))
    yield Case("attachment-meta-ok", "content.parse", "ok", (good.raw,), "one description", "Attachment 2")
    yield Case("attachment-meta-ok-name", "content.parse", "ok", (names.raw,), "a name in two scripts", "Attachment 2")
    second = described(b"other", attachment_id=bytes([1]) * 16).to_wire()
    for name, comment, fields in (
        ("id", "an id of 17 bytes", {"attachment_id": bytes(17)}),
        ("sha256", "a digest of 31 bytes", {"sha256": bytes(31)}),
        ("name-none", "no name", {"name": ""}),
        ("name-long", "a name of 256 bytes", {"name": "a" * 256}),
        ("name-path", "a name with a path", {"name": "../map.png"}),
        ("name-backslash", "a name with another path", {"name": "c:\\map.png"}),
        ("name-hidden", "a name with a leading dot", {"name": ".profile"}),
        ("name-space", "a name with a space behind it", {"name": "map.png "}),
        ("name-newline", "a name with a control character", {"name": "map\n.png"}),
        ("name-c1", "a name with a control character above ASCII", {"name": "map\x85.png"}),
        ("name-turned", "a name that turns the direction of writing", {"name": "map\u202egnp.exe"}),
        ("name-invisible", "a name with an invisible character", {"name": "map\u200b.png"}),
        ("type-none", "no media type", {"media_type": ""}),
        ("type-half", "half a media type", {"media_type": "image"}),
        ("type-parameter", "a media type with a parameter", {"media_type": "text/plain; charset=utf-8"}),
    ):
        yield case(f"meta-{name}", "bad_field", comment, within("attachments", put(**fields)))
    yield case(
        "meta-order",
        "bad_field",
        "ids that fall",
        lambda m: m.attachments.add().CopyFrom(described(b"", attachment_id=bytes(16), name="b").to_wire()),
    )
    yield case("meta-names", "bad_field", "one name twice", lambda m: m.attachments.add().CopyFrom(second))
    yield case("meta-large", "too_large", "over 1 TiB", within("attachments", put(length=2**40 + 1)))

    def many(m: Any) -> None:
        for n in range(64):
            m.attachments.add(attachment_id=b"\xff" * 15 + bytes([n]), name=f"{n}", media_type="a/b", sha256=bytes(32))

    yield case("meta-65", "too_large", "65 descriptions", many)


def matches(makers: Makers) -> Iterator[Case]:
    """Yield envelopes whose manifest and content speak of different files: step (3)."""
    e, header = Envelopes(makers), makers.header()
    file = described(b"a file")
    ref = referred(bytes(136)).to_wire()

    def case(name: str, comment: str, content: Content, *refs: Any) -> Case:
        commitment = content.commitment(SENDER, header.message_id)
        raw = e.sealed(content.raw, header, commitment=commitment, attachments=refs)
        more = (("world", makers.name), at(NOW), ("party", RECIPIENT))
        where = "Attachment 3"
        return Case(f"attachment-{name}", "mailbox.receive", "bad_commitment", (raw,), comment, where, more)

    with_file = Content.make(SCHEMA, message(), attachments=(file,))
    yield case("unsigned", "described, and not in the manifest", with_file)
    yield case("undescribed", "in the manifest, and not described", Content.make(SCHEMA, message()), ref)
    other = changed(envelope_pb2.AttachmentRef, canonical(ref), put(attachment_id=bytes(16)))
    yield case("other-id", "another id in the manifest", with_file, envelope_pb2.AttachmentRef.FromString(other))
    long = Content.make(SCHEMA, message(), attachments=(described(bytes(65)),))
    yield case("other-length", "a length that does not give that of the ciphertext", long, ref)


def blocks() -> Iterator[Case]:
    """Yield blocks of an attachment of three: step (4)."""
    last = b"\x02" * 5
    pieces = [bytes(BLOCK), b"\x01" + bytes(BLOCK - 1), last]
    hashes = [block_hash(piece) for piece in pieces]
    root, size = merkle.root(hashes), 2 * BLOCK + len(last)

    def case(
        name: str, expect: str, comment: str, index: int, data: bytes, path: Sequence[bytes] | None = None
    ) -> Case:
        way = path_of(hashes, index) if path is None else path
        more = (("index", str(index)), ("size", str(size)))
        blocks = (root, data, *way)
        return Case(f"attachment-block-{name}", "attachment.block", expect, blocks, comment, "Attachment 4", more)

    yield case("ok", "ok", "the first of three", 0, pieces[0])
    yield case("ok-last", "ok", "the last of three, which is shorter", 2, last)
    bad = "bad_signature"
    yield case("changed", bad, "one bit", 0, b"\x80" + bytes(BLOCK - 1))
    yield case("place", bad, "another block of the same length", 1, pieces[0])
    yield case("short", bad, "a byte less", 0, bytes(BLOCK - 1))
    yield case("last-long", bad, "a byte more", 2, last + b"\x02")
    yield case("path-short", bad, "a hash is missing", 0, pieces[0], path_of(hashes, 0)[:-1])
    yield case("path-order", bad, "two hashes in the other order", 0, pieces[0], path_of(hashes, 0)[::-1])


def wholes(makers: Makers) -> Iterator[Case]:
    """Yield attachments with the envelope that names them: steps (4) to (6)."""

    def case(name: str, expect: str, step: int, comment: str, a: Attached, ciphertext: bytes | None = None) -> Case:
        blocks = (a.envelope.raw, a.ciphertexts[0] if ciphertext is None else ciphertext)
        more = (("world", makers.name), at(NOW), ("party", RECIPIENT))
        return Case(f"attachment-{name}", "attachment.read", expect, blocks, comment, f"Attachment {step}", more)

    text = b"what lies in the file"
    good = Attached(makers, (described(text), padded(text)))
    empty = Attached(makers, (described(b""), padded(b"")))
    long = bytes(range(256)) * 65  # two chunks
    chunks = Attached(makers, (described(long), padded(long)))
    yield case("ok", "ok", 6, "21 bytes", good)
    yield case("ok-empty", "ok", 6, "no byte", empty)
    yield case("ok-chunks", "ok", 6, "two chunks", chunks)
    sealed = good.ciphertexts[0]
    yield case("changed", "bad_signature", 4, "one bit of the ciphertext", good, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    yield case("cut", "bad_signature", 4, "its last byte is missing", good, sealed[:-1])
    yield case("nothing", "bad_signature", 4, "no byte of it", good, b"")
    other = Attached(makers, (described(text), padded(text)), sealed_as=bytes(16))
    yield case("key", "bad_ciphertext", 5, "sealed under the id of another", other)
    lie = described(text, sha256=sha256(b"another file").digest())
    yield case("digest", "bad_commitment", 6, "not the file that is described", Attached(makers, (lie, padded(text))))
    hidden = padded(text)[:-1] + b"x"
    yield case("hidden", "bad_commitment", 6, "something behind its end", Attached(makers, (described(text), hidden)))
    more = (("world", makers.name), at(NOW), ("party", SENDER), ("relay", "relay.th.example"))
    comment = "handed over before its attachment was uploaded"
    yield Case("relay-attachment", "relay.submit", "unavailable", (good.envelope.raw,), comment, "Relay 4", more)


def passed_on(makers: Makers) -> Iterator[Case]:
    """Yield content that is passed on with attachments."""
    text = b"what lies in the file"
    file = described(text)

    def enclose(_key: bytes, _digest: bytes) -> Sequence[AttachmentRef]:
        return [referred(bytes(136))]

    o = Onward(makers, attachments=(file,), enclose=enclose)
    origin = o.origin()
    yield o.case(
        "ok-attachment-left-out", "ok", 7, "without the attachment that it came with", o.passed_on(origin, o.grant)
    )
    kept = o.passed_on(origin, o.grant, attachments=(file,), enclose=enclose)
    yield o.case("ok-attachment", "ok", 7, "with the attachment that it came with", kept)
    other = described(text, name="other.png")
    put_in = o.passed_on(origin, o.grant, attachments=(other,), enclose=enclose)
    yield o.case("attachment-put-in", "bad_commitment", 2, "with an attachment of another name", put_in)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    text = b"what lies in the file"
    yield from manifests(Attached(worlds.one, (described(text), padded(text))))
    yield from contents()
    yield from matches(worlds.one)
    yield from blocks()
    yield from wholes(worlds.one)
    yield from passed_on(worlds.three)
