"""Disclosure: what is shown verifies with no schema, and of the rest nothing is said but how many there are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from catalogue_messages import person, request
from conftest import RECIPIENT, SECOND, SENDER
from envelopes import signed_manifest
from infoexchange import catalogue
from infoexchange.bundle import KeyBundle
from infoexchange.catalogue import records
from infoexchange.content import RECORDS_MAX, Content
from infoexchange.disclosure import DISCLOSURE_SIZE_MAX, Disclosure
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.suites import HYBRID, HYBRID_KEM, Suite
from infoexchange.testing import Exchange
from infoexchange.tlog import merkle
from infoexchange.v1 import disclosure_pb2
from test_envelope import header_for

Wire = disclosure_pb2.Disclosure
THREAD = b"0123456789abcdef"


def message() -> catalogue.RequestForInformation:
    made = request()
    made.vessels.add(local_id="v2", imo="9074730", name="MV EXERCISE HERON")
    person(made)
    return made


def sealed(exchange: Exchange, content: Content, sender: str = SENDER, suite: Suite = HYBRID_KEM) -> Envelope:
    """The content in an envelope of the sender."""
    member = exchange.community.members[sender]
    header = replace(header_for(exchange, suite), sender=sender, sender_bundle=member.bundle.digest)
    recipients = [
        m.bundle for name, m in exchange.community.members.items() if name in (RECIPIENT, SECOND) and m != member
    ]
    return Envelope.seal(content, header, recipients, member.identity.epochs[0])


class Case:
    """One sealed message with ten records, and a disclosure of four of them."""

    def __init__(self, exchange: Exchange, suite: Suite = HYBRID) -> None:
        made = message()
        payload = made.SerializeToString(deterministic=True)
        self.content = Content.make(catalogue.schema_of(made), payload, thread_id=THREAD)
        self.envelope = sealed(exchange, self.content, suite=suite)
        self.bundle, self.directory = exchange.community.members[SENDER].bundle, exchange.directory
        self.named = records.name_records(self.content.schema, self.content.records)
        self.disclosure = self.disclose("vessels[1]")

    def disclose(self, *fields: str) -> Disclosure:
        return Disclosure.make(self.envelope.manifest, self.content, records.choose(self.named, fields))

    def reason(self, change, bundle: KeyBundle | None = None) -> Reason:
        """Why a changed disclosure is refused."""
        wire = Wire.FromString(self.disclosure.raw)
        change(wire)
        with pytest.raises(ExchangeError) as caught:
            Disclosure.parse(wire.SerializeToString(deterministic=True)).verify(self.directory, bundle or self.bundle)
        return caught.value.reason


@pytest.fixture(scope="module")
def case(shared_exchange: Exchange) -> Case:
    return Case(shared_exchange)


# What verifies


@pytest.mark.parametrize("suite", [HYBRID, HYBRID_KEM])
def test_chosen_records_verify_with_the_senders_bundle_alone(shared_exchange, suite):
    case = Case(shared_exchange, suite=suite)
    read = Disclosure.parse(case.disclosure.raw)
    assert read.verify(case.directory, case.bundle).name == SENDER
    assert [leaf.index for leaf in read.leaves] == [0, 1, 2, 8]
    assert [leaf.record for leaf in read.leaves] == [case.content.records[i] for i in (0, 1, 2, 8)]
    assert (read.count, read.schema, read.marked) == (10, case.content.schema, True)
    shown = catalogue.message_type(read.schema).FromString(read.partial)
    assert shown == catalogue.RequestForInformation(
        handling=message().handling, subject=message().subject, vessels=[message().vessels[1]]
    )


def test_records_of_a_message_signed_in_a_batch_or_for_blind_recipients(shared_exchange):
    contents = [Content.make("a.B", bytes([8, n]) * 1, groups=("watch",), addressees=("x.example",)) for n in (1, 2, 3)]
    member, directory = shared_exchange.community.members[SENDER], shared_exchange.directory
    bundles = [shared_exchange.community.members[RECIPIENT].bundle]
    header = replace(header_for(shared_exchange, HYBRID), blind=True)
    draughts = [Envelope.draw_up(content, header, bundles, bytes(32)) for content in contents]
    for content, envelope in zip(contents, Envelope.sign(draughts, member.identity.epochs[0]), strict=True):
        disclosure = Disclosure.make(envelope.manifest, content, [1, 2])
        assert Disclosure.parse(disclosure.raw).verify(directory, member.bundle).name == SENDER
        assert [leaf.letter for leaf in disclosure.leaves] == [b"S", b"R", b"G"]
        assert b"x.example" not in disclosure.raw
        assert RECIPIENT.encode() not in disclosure.raw


def test_every_single_record_of_messages_of_every_length(shared_exchange):
    """Every place in trees of one to twenty records, with the path that place needs."""
    for count in range(1, 20):
        payload = b"".join(bytes([8 * number, number]) for number in range(1, min(count, 15)))
        payload += b"\x7a\x01x" * (count - min(count, 15))
        content = Content.make("a.B", payload)
        envelope = sealed(shared_exchange, content)
        assert len(content.records) == count
        for index in range(count):
            disclosure = Disclosure.make(envelope.manifest, content, [index])
            assert Disclosure.parse(disclosure.raw) == disclosure
            assert {leaf.index for leaf in disclosure.leaves} == {0, index}
            disclosure.check_records()


def test_the_same_choice_gives_the_same_bytes(case):
    assert case.disclose("vessels[1]").raw == case.disclosure.raw
    assert case.disclose("vessels[1]", "8", "handling").raw == case.disclosure.raw
    every = Disclosure.make(case.envelope.manifest, case.content, range(len(case.content.records)))
    assert every.partial == case.content.payload


def test_marks_and_subject_always_go(case):
    names = {case.named[leaf.index].name for leaf in case.disclose("background").leaves}
    assert names == {"content.schema", "handling", "subject", "background"}
    bare = Disclosure.make(case.envelope.manifest, case.content, [5])  # whoever makes it without the catalogue
    bare.verify(case.directory, case.bundle)
    assert not bare.marked


def test_a_message_of_an_unknown_type_is_chosen_by_number_and_verifies(shared_exchange):
    content = Content.make("elsewhere.v9.Thing", b"\x0a\x02\x08\x01\x12\x05hello\x12\x05world\x38\x2a")
    envelope = sealed(shared_exchange, content)
    named = records.name_records(content.schema, content.records)
    assert [n.name for n in named] == ["content.schema", "field 1", "field 2[0]", "field 2[1]", "field 7"]
    chosen = records.choose(named, ["3"])
    assert chosen == [0, 1, 3]  # the marks of every catalogue message stand in field 1
    disclosure = Disclosure.make(envelope.manifest, content, chosen)
    disclosure.verify(shared_exchange.directory, shared_exchange.community.members[SENDER].bundle)
    rows = [records.rows(disclosure.schema, leaf.index, leaf.record)[0] for leaf in disclosure.leaves]
    assert rows[2] == ("field 2", "776f726c64 'world'")
    assert disclosure.marked


# What stays hidden


def test_nothing_of_the_other_records_is_in_it(case):
    shown = {leaf.index for leaf in case.disclosure.leaves}
    raw = case.disclosure.raw
    assert case.content.salt_seed not in raw
    for index, (salt, record) in enumerate(zip(case.content.salts, case.content.records, strict=True)):
        assert (salt in raw) == (index in shown)
        assert (record in raw) == (index in shown)
    for text in (b"Seen at anchor", b"Who owns it?", b"Alpha", THREAD, b"9074729"):
        assert text not in raw


def test_hidden_records_of_other_lengths_change_nothing_but_hashes(shared_exchange):
    """Two messages that differ in what is hidden give disclosures of one length: no size shows through."""
    lengths = set()
    for background in ("x", "x" * 900):
        made = message()
        made.background = background
        content = Content.make(catalogue.schema_of(made), made.SerializeToString(deterministic=True))
        envelope = sealed(shared_exchange, content)
        disclosure = Disclosure.make(envelope.manifest, content, [1, 2])
        lengths.add(len(disclosure.raw) - len(envelope.manifest.raw))
    assert len(lengths) == 1


def test_a_guess_of_a_hidden_record_cannot_be_tested(case):
    """The hashes in the paths are of salted records: the right guess without its salt gives none of them."""
    hashes = {node for leaf in case.disclosure.leaves for node in leaf.path}
    assert case.content.leaf_hashes[3] in hashes
    for guess in case.content.records:
        salts = [b"", *(leaf.salt for leaf in case.disclosure.leaves)]
        assert hashes.isdisjoint(merkle.leaf_hash(salt + guess) for salt in salts if guess not in case.disclosure.raw)


# What is refused, each for its own reason


def flip(value: bytes, place: int = 0) -> bytes:
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def swap(wire: Wire, field: str) -> None:
    one, other = wire.leaves[2], wire.leaves[3]
    first, second = getattr(one, field), getattr(other, field)
    setattr(one, field, second)
    setattr(other, field, first)


def reorder(wire: Wire) -> None:
    leaves = [disclosure_pb2.DisclosedLeaf.FromString(leaf.SerializeToString()) for leaf in wire.leaves]
    del wire.leaves[:]
    wire.leaves.extend([leaves[0], leaves[2], leaves[1], leaves[3]])


def repeat(wire: Wire) -> None:
    wire.leaves.extend([wire.leaves[-1]])


def only(*places: int):
    def change(wire: Wire) -> None:
        kept = [disclosure_pb2.DisclosedLeaf.FromString(wire.leaves[i].SerializeToString()) for i in places]
        del wire.leaves[:]
        wire.leaves.extend(kept)

    return change


def put(place: int, **values):
    def change(wire: Wire) -> None:
        for name, value in values.items():
            setattr(wire.leaves[place], name, value)

    return change


def letter(place: int, to: bytes):
    def change(wire: Wire) -> None:
        wire.leaves[place].record = to + wire.leaves[place].record[1:]

    return change


BAD_FIELD, BAD_COMMITMENT = Reason.BAD_FIELD, Reason.BAD_COMMITMENT
REFUSED = {
    "one record more": (lambda w: setattr(w, "leaf_count", 11), BAD_COMMITMENT),
    "one record fewer": (lambda w: setattr(w, "leaf_count", 9), BAD_COMMITMENT),
    "the other side of a power of two": (lambda w: setattr(w, "leaf_count", 17), BAD_COMMITMENT),
    "no count": (lambda w: w.ClearField("leaf_count"), BAD_FIELD),
    "more records than can be": (lambda w: setattr(w, "leaf_count", RECORDS_MAX + 1), BAD_FIELD),
    "another place": (put(3, index=7), BAD_COMMITMENT),
    "a place beyond the end": (put(3, index=10), BAD_FIELD),
    "a far place": (put(3, index=2**32 - 1), BAD_FIELD),
    "another path": (lambda w: w.leaves[3].path.__setitem__(0, flip(w.leaves[3].path[0])), BAD_COMMITMENT),
    "a longer path": (lambda w: w.leaves[3].path.append(bytes(32)), BAD_COMMITMENT),
    "a shorter path": (lambda w: w.leaves[3].path.pop(), BAD_COMMITMENT),
    "no path": (lambda w: w.leaves[3].ClearField("path"), BAD_COMMITMENT),
    "a path of short hashes": (lambda w: w.leaves[3].path.__setitem__(0, bytes(31)), BAD_FIELD),
    "a path of sixty-four": (lambda w: w.leaves[3].path.extend([bytes(32)] * 64), BAD_FIELD),
    "another salt": (lambda w: put(3, salt=flip(w.leaves[3].salt))(w), BAD_COMMITMENT),
    "a short salt": (put(3, salt=bytes(31)), BAD_FIELD),
    "no salt": (put(3, salt=b""), BAD_FIELD),
    "salts swapped": (lambda w: swap(w, "salt"), BAD_COMMITMENT),
    "another value": (
        lambda w: put(3, record=flip(w.leaves[3].record, -1 + len(w.leaves[3].record)))(w),
        BAD_COMMITMENT,
    ),
    "the subject under the marks' place": (lambda w: put(1, record=w.leaves[2].record)(w), BAD_COMMITMENT),
    "records out of the order of fields": (lambda w: swap(w, "record"), BAD_FIELD),
    "leaves reordered": (reorder, BAD_FIELD),
    "a leaf twice": (repeat, BAD_FIELD),
    "empty": (only(), BAD_FIELD),
    "without the schema": (only(1, 2, 3), BAD_FIELD),
    "the schema elsewhere": (lambda w: (only(0)(w), put(0, index=1)(w)), BAD_FIELD),
    "another schema": (letter(0, b"Sx"), BAD_COMMITMENT),
    "a schema of no letters": (put(0, record=b"S"), BAD_FIELD),
    "a schema of 256 letters": (put(0, record=b"S" + b"a" * 256), BAD_FIELD),
    "a schema that is not ASCII": (put(0, record=b"S\xc3\xa9"), BAD_FIELD),
    "the schema as a record": (letter(0, b"R"), BAD_FIELD),
    "a record as a second schema": (letter(3, b"S"), BAD_FIELD),
    "a record as a thread": (letter(3, b"T"), BAD_COMMITMENT),
    "a thread before a record": (letter(2, b"T"), BAD_FIELD),
    "two schemas": (put(1, record=b"Sx"), BAD_FIELD),
    "an unknown letter before the schema": (
        lambda w: (put(0, record=b"Zx")(w), put(1, record=b"Sx")(w)),
        BAD_FIELD,
    ),
    "an unknown letter": (letter(3, b"Z"), BAD_FIELD),
    "a small letter": (letter(3, b"r"), BAD_FIELD),
    "no record": (put(3, record=b""), BAD_FIELD),
    "a letter alone": (put(3, record=b"R"), BAD_FIELD),
    "two fields in one record": (lambda w: put(3, record=w.leaves[3].record + b"\x68\x01")(w), BAD_FIELD),
    "half a field": (lambda w: put(3, record=w.leaves[3].record[:-1])(w), BAD_FIELD),
    "no manifest": (lambda w: w.ClearField("manifest"), BAD_FIELD),
    "an unknown field": (lambda w: w.MergeFromString(b"\x7a\x01x"), Reason.NOT_CANONICAL),
    "nine attestations": (lambda w: w.attestations.extend(bytes([i]) for i in range(1, 10)), Reason.TOO_LARGE),
    "attestations out of order": (lambda w: w.attestations.extend([b"b", b"a"]), BAD_FIELD),
    "junk as an attestation": (lambda w: w.attestations.append(b"junk"), Reason.MALFORMED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_part_of_the_message_is_refused(case, name):
    change, reason = REFUSED[name]
    assert case.reason(change) is reason


def test_an_origin_is_never_shown(shared_exchange):
    """It holds the salts of the message it was taken from, which would be open to guesses then."""
    content = Content.make("a.B", b"\x08\x01", origin=b"an origin")
    envelope = sealed(shared_exchange, content)
    assert content.records[-1] == b"Oan origin"
    for indices in ([2], range(3)):
        with pytest.raises(ExchangeError) as caught:
            Disclosure.make(envelope.manifest, content, indices)
        assert (caught.value.reason, caught.value.field) == (BAD_FIELD, "disclosure.leaves.record")


def test_elements_of_a_list_keep_their_order(case):
    wire = Wire.FromString(case.disclose("vessels").raw)
    one, other = [disclosure_pb2.DisclosedLeaf.FromString(leaf.SerializeToString()) for leaf in wire.leaves[3:]]
    del wire.leaves[3:]
    wire.leaves.extend([other, one])
    with pytest.raises(ExchangeError) as caught:
        Disclosure.parse(wire.SerializeToString(deterministic=True))
    assert (caught.value.reason, caught.value.field) == (BAD_FIELD, "disclosure.leaves.index")


def test_only_a_record_of_the_payload_is_the_handling_block(shared_exchange):
    content = Content.make("a.B", b"\x0a\x02\x08\x01", groups=("\nwatch",))  # a name that begins like field 1
    envelope = sealed(shared_exchange, content)
    assert not Disclosure.make(envelope.manifest, content, [2]).marked
    assert Disclosure.make(envelope.manifest, content, [1]).marked


def test_a_record_of_another_message_of_the_same_sender(case, shared_exchange):
    other = Case(shared_exchange)
    [leaf] = [leaf for leaf in other.disclosure.leaves if leaf.index == 8]
    assert leaf.record == case.disclosure.leaves[3].record  # the same words under other salts
    assert case.reason(put(3, salt=leaf.salt)) is BAD_COMMITMENT
    wire = Wire.FromString(other.disclosure.raw)
    assert case.reason(lambda w: w.leaves[3].CopyFrom(wire.leaves[3])) is BAD_COMMITMENT
    assert case.reason(lambda w: setattr(w, "manifest", other.envelope.manifest.raw)) is BAD_COMMITMENT


def test_the_same_content_under_another_name(case, shared_exchange):
    """Who received content can sign it as its own message, and never as the sender's."""
    thief = shared_exchange.community.members[RECIPIENT]
    own = sealed(shared_exchange, case.content, sender=RECIPIENT)
    wire = Wire.FromString(case.disclosure.raw)
    wire.manifest = own.manifest.raw
    shown = Disclosure.parse(wire.SerializeToString(deterministic=True))
    assert shown.verify(case.directory, thief.bundle).name == RECIPIENT
    assert shown.manifest.header.content_commitment != case.envelope.header.content_commitment
    assert case.reason(lambda w: setattr(w, "manifest", own.manifest.raw)) is Reason.STALE_BUNDLE
    assert case.reason(lambda w: None, thief.bundle) is Reason.STALE_BUNDLE
    # With the commitment of the sender's message, under the thief's name and signature.
    stolen = replace(own.header, content_commitment=case.envelope.header.content_commitment)
    forged = signed_manifest(stolen.raw, [w.raw for w in own.wraps], own.body, thief.identity.epochs[0])
    assert case.reason(lambda w: setattr(w, "manifest", forged.raw), thief.bundle) is BAD_COMMITMENT


def test_an_unsigned_manifest_shows_nothing(case):
    def unsigned(wire: Wire) -> None:
        wire.manifest = wire.manifest.replace(case.envelope.manifest.dsse.signatures[0], bytes(3373))

    assert case.reason(unsigned) is Reason.BAD_SIGNATURE


def test_content_that_is_not_that_of_the_manifest_is_not_disclosed(case, shared_exchange):
    other = Case(shared_exchange)
    with pytest.raises(ExchangeError) as caught:
        Disclosure.make(case.envelope.manifest, other.content, [1])
    assert caught.value.reason is BAD_COMMITMENT


@pytest.mark.parametrize("indices", [[], [10], [-1], [0, 99]])
def test_records_that_are_not_there_cannot_be_named(case, indices):
    with pytest.raises(ExchangeError) as caught:
        Disclosure.make(case.envelope.manifest, case.content, indices)
    assert caught.value.reason is BAD_FIELD


def test_too_large_is_said_before_anything_is_read():
    with pytest.raises(ExchangeError) as caught:
        Disclosure.parse(bytes(DISCLOSURE_SIZE_MAX + 1))
    assert caught.value.reason is Reason.TOO_LARGE


def test_no_flipped_bit_gets_through(case):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    raw = case.disclosure.raw
    start = raw.index(case.envelope.manifest.raw)
    hint = raw.index(case.envelope.manifest.dsse.key_ids[0].encode())
    harmless = range(hint, hint + len(case.envelope.manifest.dsse.key_ids[0]))
    outside = [p for p in range(len(raw)) if not start <= p < start + len(case.envelope.manifest.raw)]
    for place in [*outside, *rng.sample(range(start, start + len(case.envelope.manifest.raw)), 60)]:
        changed = bytearray(raw)
        changed[place] ^= 1 << rng.randrange(8)
        try:
            Disclosure.parse(bytes(changed)).verify(case.directory, case.bundle)
        except ExchangeError:
            continue
        assert place in harmless, place
