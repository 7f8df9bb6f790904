"""What may change on the way without a refusal, because it changes nothing; and what nobody can refuse."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from attacks import epochs
from attacks.epochs import HOUR
from attacks.forging import changed, content, header, sealed, with_signature
from attacks.relay_bulletin import sealed_to
from attacks.relay_receipts import accepted_by, told, under
from attacks.relay_routes import again
from attacks.scene import HOME, PEER, Hostile, Letter, Scene, answer_of
from attacks.table import EVERY, HARMLESS, LIMITS, NOTHING, PASSES, Kind, note
from conftest import RECIPIENT, SENDER
from infoexchange import certificates
from infoexchange.bundle import KeyBundle
from infoexchange.dsse import TYPE_BATCH, TYPE_MANIFEST, pae
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.keys import KeyUsage
from infoexchange.log import LogKeys
from infoexchange.suites import NIST_HIGH
from infoexchange.testing import MemorySpool
from infoexchange.testing.national import EXAMPLE
from test_composite import ORDER

ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def same(scene: Scene, letter: Letter, *forms: bytes) -> None:
    """Assert that some bytes are another form of one envelope, for everybody, before it was seen and afterwards."""
    for raw in forms:
        assert raw != letter.raw
        parsed = Envelope.parse(raw)
        assert (parsed.digest, parsed.header.claim) == (letter.envelope.digest, letter.envelope.header.claim)
        answers = {judge: answer_of(call) for judge, call in scene.shown(raw).items()}
        assert set(answers.values()) == {PASSES}, answers
        other = Letter(letter.kind, parsed, letter.receipt)
        assert again(scene, scene.exchange.nodes[HOME], SENDER, other) == NOTHING
        assert again(scene, scene.exchange.nodes[PEER], HOME, other) == NOTHING
        handed_out_twice(scene, letter.raw, raw)
        kept = scene.exchange.mailbox(RECIPIENT).spool
        assert scene.delivered(RECIPIENT, raw, spool=kept) == NOTHING


def handed_out_twice(scene: Scene, *raws: bytes) -> None:
    """Assert that two forms before the acknowledgement are one message, the second marked as handed over before."""
    spool = MemorySpool()
    for row in scene.exchange.mailbox(RECIPIENT).spool.keks():
        spool.note_kek(row)
    box = scene.box(RECIPIENT, Hostile(raws, bundles=scene.bundles), spool=spool)
    first, second = box.receive()
    assert (first.repeated, second.repeated) == (False, True)
    assert (first.digest, first.message, first.content) == (second.digest, second.message, second.content)


@note(HARMLESS, EVERY)
def key_id(scene: Scene, letter: Letter) -> None:
    """The key id beside a signature is a hint that decides nothing: another one, none, or one of 64 letters."""

    def hinted(hint: str) -> bytes:
        return changed(letter.raw, lambda m: setattr(m.manifest.signatures[0], "keyid", hint))

    same(scene, letter, hinted("0000000000000000"), hinted(""), hinted("x" * 64))


@note(HARMLESS, (Kind.SEVERAL, Kind.BATCH, Kind.BLIND))
def wraps_of_others(scene: Scene, letter: Letter) -> None:
    """Wraps of others are left out on the way; the signature holds without them."""
    # To the sender's relay all must come: it takes the shorter form as what it has taken already.
    pruned = letter.envelope.prune({RECIPIENT})
    assert pruned.raw != letter.raw
    assert pruned.digest == letter.envelope.digest
    handed_out_twice(scene, letter.raw, pruned.raw)
    assert again(scene, scene.exchange.nodes[HOME], SENDER, Letter(letter.kind, pruned, letter.receipt)) == NOTHING
    assert scene.audited(pruned.raw) == PASSES


@note(HARMLESS, EVERY)
def second_signature_of_the_same(scene: Scene, letter: Letter) -> None:
    """The sender's key signs the same bytes again; most suites then give other bytes, under the same name."""
    container = letter.envelope.manifest.dsse
    kind = TYPE_BATCH if container.batch else TYPE_MANIFEST
    payload = container.message[len(pae(kind, b"")) :] if container.batch else container.payload
    assert container.batch or pae(kind, payload) == container.message
    if container.batch:
        payload = container.message.rpartition(b" 36 ")[2]
        assert pae(kind, payload) == container.message
    made = scene.keys(SENDER).signer(scene.suite, KeyUsage.MANIFEST).sign(kind, payload)
    forms = [with_signature(letter.raw, lambda _: made)]
    same(scene, letter, *(raw for raw in forms if raw != letter.raw))


@note(HARMLESS, EVERY)
def other_form_of_an_ecdsa_signature(scene: Scene, letter: Letter) -> None:
    """Of an ECDSA signature anybody can make the one with n - s. Nothing is named by its signature."""
    orders = {NIST_HIGH.number: (4627, ORDER), EXAMPLE.number: (0, ORDER_P256)}
    if scene.suite.number not in orders:
        return
    at, order = orders[scene.suite.number]

    def turned(signature: bytes) -> bytes:
        r, s = decode_dss_signature(signature[at:])
        return signature[:at] + encode_dss_signature(r, order - s)

    same(scene, letter, with_signature(letter.raw, turned))


@note(HARMLESS)
def lines_of_unknown_witnesses(scene: Scene, letter: Letter) -> None:
    """A checkpoint may carry lines by keys that no directory lists, good or bad: they are skipped."""
    unknown = LogKeys.make("relay.nobody.example", now=scene.now)
    for receipt in (letter.receipt, accepted_by(scene, PEER, letter)):
        head = receipt.proof.checkpoint
        lines = [head.signed_by(signer, now=scene.now) for signer in unknown.signers]
        more = under(receipt, head.with_signatures(lines), receipt.proof.path)
        assert more.raw != receipt.raw
        assert (more.index, more.routing, more.subject) == (receipt.index, receipt.routing, receipt.subject)
        assert scene.audited(letter.raw, events=[more]) == PASSES
        if receipt is letter.receipt:
            assert told(scene, letter, more) == PASSES


# What nobody can refuse


@note(LIMITS)
def two_envelopes_with_one_number(scene: Scene, letter: Letter) -> None:
    """An agency gives two envelopes one `sequence` and `previous`, and shows each to others.

    Nobody refuses; whoever holds both, an auditor of that agency for one, has two signed claims to one place.
    """
    texts = [content(), content(purpose="another exercise")]
    heads = [header(scene, said, message_id=bytes([n]) * 16) for n, said in enumerate(texts)]
    one, two = (Envelope.parse(sealed(scene, head, said)) for head, said in zip(heads, texts, strict=True))
    for envelope in (one, two):
        assert {answer_of(call) for call in scene.shown(envelope.raw).values()} == {PASSES}
    assert (one.header.sequence, one.header.previous) == (two.header.sequence, two.header.previous)
    assert one.digest != two.digest


def _hour_later(scene: Scene, call: Callable[[], object]) -> object:
    with scene.at(scene.now + HOUR):
        return call()


@note(LIMITS)
def withdrawal_kept_back(scene: Scene, letter: Letter) -> None:
    """A relay hands out an agency's bundle and keeps back the newer one that withdraws it.

    The sender seals to keys that may be in other hands, until that bundle ends, 30 days at most. Its entry KEY_BUNDLE
    in the log of the agency's own relay shows that there was a newer one. With both at hand the library seals to the
    newer one.
    """
    newer = epochs.second(scene, RECIPIENT, withdraw=True).bundle
    assert _hour_later(scene, lambda: sealed_to(scene, scene.bundle(RECIPIENT))) == PASSES
    assert _hour_later(scene, lambda: sealed_to(scene, scene.bundle(RECIPIENT), newer)) == PASSES


@note(LIMITS)
def revocation_kept_back(scene: Scene, letter: Letter) -> None:
    """A relay hands out a bundle with an old revocation list, or none.

    Sender and recipient go on with a revoked certificate until the bundle ends. An auditor who has no list of the time
    of logging leaves the question open, and one who has the list finds `revoked`.
    """
    member, ca = scene.member(SENDER), scene.exchange.community.cas["th"]
    bare = KeyBundle.parse(member.bundle.raw, member.certificates)
    assert scene.delivered(RECIPIENT, letter.raw, bundles=[bare]) == PASSES
    check = "sender's certificate not revoked"
    assert scene.audited(letter.raw, bundles=[bare], check=check) == "no revocation data"
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), scene.now)
    crl = ca.crl(now=scene.now, revoked=[(leaf.serial, scene.now)])
    told_of_it = KeyBundle.parse(member.bundle.raw, member.certificates, (crl,))
    assert scene.audited(letter.raw, bundles=[told_of_it]) == Reason.REVOKED
