"""Policies: logs with two keys, groups and quorum, every refused form."""

import hashlib
import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from infoexchange.errors import ExchangeError, Reason, UntrustedError
from infoexchange.tlog.checkpoint import Checkpoint
from infoexchange.tlog.cosignature import Cosignature
from infoexchange.tlog.note import NoteSigner, Signature, VerifierKey
from infoexchange.tlog.policy import Group, Policy, Witness

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN = "relay.th.example/audit/2026h2"


def signer(name, key_type, seed=""):
    secret = hashlib.sha256(f"{name} {key_type} {seed}".encode()).digest()
    if key_type == 6:
        private = MLDSA44PrivateKey.from_seed_bytes(secret)
    else:
        private = Ed25519PrivateKey.from_private_bytes(secret)
    return NoteSigner(VerifierKey.make(name, key_type, private.public_key().public_bytes_raw()), private.sign)


LOG = [signer(ORIGIN, 1), signer(ORIGIN, 6)]
NATIONS = ["bn", "kh", "id", "la", "my"]
EDS = {cc: signer(f"relay.{cc}.example/witness", 4) for cc in NATIONS}
MLS = {cc: signer(f"relay.{cc}.example/witness", 6) for cc in NATIONS}
CHECKPOINT = Checkpoint.sign(ORIGIN, 300, hashlib.sha256(b"root").digest(), LOG, now=NOW)

# The rule of our directories: a nation counts once, with either algorithm; the quorum is k of the other nations.
TEXT = "# who must have seen it\n\n"
TEXT += "".join(f"log {one.key} https://relay.th.example\n" for one in LOG)
TEXT += "".join(f"witness {cc}-ed {EDS[cc].key}\n\twitness  {cc}-ml\t{MLS[cc].key} url \n" for cc in NATIONS)
TEXT += "".join(f"group {cc} any {cc}-ed {cc}-ml\n" for cc in NATIONS)
TEXT += "group others 4 bn kh id la my\nquorum others\n"
POLICY = Policy.parse(TEXT.encode())


def cosigned(*names):
    """Return the checkpoint with cosignatures by witnesses called `bn-ed`, `la-ml` and so on."""
    made = [Cosignature.sign(CHECKPOINT, (EDS if n.endswith("ed") else MLS)[n[:2]], now=NOW) for n in names]
    return CHECKPOINT.with_signatures(one.signature for one in made)


def refused(reason, call, *args, **named):
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.reason is reason, caught.value
    return caught.value


def test_parts():
    assert POLICY.logs == tuple(one.key for one in LOG)
    assert [witness.name for witness in POLICY.witnesses][:3] == [b"bn-ed", b"bn-ml", b"kh-ed"]
    assert POLICY.groups[-1] == Group(b"others", 4, (b"bn", b"kh", b"id", b"la", b"my"))
    assert POLICY.quorum == b"others"
    assert POLICY.has_quorum_rule
    made = Policy.make(POLICY.logs, POLICY.witnesses, POLICY.groups, POLICY.quorum)
    assert (made.logs, made.witnesses, made.groups) == (POLICY.logs, POLICY.witnesses, POLICY.groups)


def test_enough_witnesses_are_returned():
    names = ["bn-ed", "kh-ml", "id-ed", "id-ml", "my-ed"]
    assert [witness.name.decode() for witness in POLICY.verify(cosigned(*names), now=NOW)] == names


@pytest.mark.parametrize(
    "names",
    [[], ["bn-ed"], ["bn-ed", "kh-ed", "id-ed"], ["bn-ed", "bn-ml", "kh-ed", "kh-ml", "id-ed", "id-ml"]],
)
def test_too_few_nations_are_no_quorum(names):
    caught = refused(Reason.BAD_PROOF, POLICY.verify, cosigned(*names), now=NOW)
    assert caught.field == "policy.quorum"
    assert isinstance(caught, UntrustedError)
    assert len(POLICY.cosigners(cosigned(*names), now=NOW)) == len(names)


def test_the_quorum_is_that_of_the_definition_for_all_subsets():
    keys = {cc: EDS[cc].key for cc in NATIONS}
    lines = "".join(f"witness {cc} {key}\n" for cc, key in keys.items())
    lines += "group x 2 bn kh id\ngroup y any la my\ngroup both all x y\nquorum both\n"
    policy = Policy.parse(lines.encode())
    for count in range(6):
        for chosen in itertools.combinations(NATIONS, count):
            expected = len({"bn", "kh", "id"} & set(chosen)) >= 2 and bool({"la", "my"} & set(chosen))
            checkpoint = cosigned(*(f"{cc}-ed" for cc in chosen))
            if expected:
                assert len(policy.verify(checkpoint, now=NOW)) == count
            else:
                refused(Reason.BAD_PROOF, policy.verify, checkpoint, now=NOW)


def test_the_log_must_be_listed_and_have_signed_with_both_keys():
    names = [f"{cc}-ed" for cc in NATIONS]
    cosignatures = [signature for signature in cosigned(*names).note.signatures if signature.name != ORIGIN]
    single = Checkpoint.sign(ORIGIN, 300, CHECKPOINT.root, LOG[:1], now=NOW).with_signatures(cosignatures)
    refused(Reason.BAD_SIGNATURE, POLICY.verify, single, now=NOW)
    other = signer("relay.la.example/audit", 1)
    foreign = Checkpoint.sign("relay.la.example/audit", 300, CHECKPOINT.root, [other], now=NOW)
    refused(Reason.UNKNOWN_PARTY, POLICY.verify, foreign, now=NOW)


def test_each_of_several_logs_is_asked_for_its_own_keys():
    other = [signer("relay.la.example/audit", key_type) for key_type in (1, 6)]
    policy = Policy.make([one.key for one in (*other, *LOG)], [], [], b"none")
    assert policy.verify(CHECKPOINT, now=NOW) == ()
    foreign = Checkpoint.sign("relay.la.example/audit", 300, CHECKPOINT.root, other, now=NOW)
    assert policy.verify(foreign, now=NOW) == ()
    half = Checkpoint.sign("relay.la.example/audit", 300, CHECKPOINT.root, other[:1], now=NOW)
    refused(Reason.BAD_SIGNATURE, policy.verify, half, now=NOW)


def test_without_log_lines_the_witnesses_decide():
    policy = Policy.make([], POLICY.witnesses, POLICY.groups, b"bn")
    assert policy.verify(cosigned("bn-ml"), now=NOW) == (POLICY.witnesses[1],)
    refused(Reason.BAD_PROOF, policy.verify, cosigned("la-ml"), now=NOW)


def test_quorum_none_has_no_rule():
    policy = Policy.make(POLICY.logs, POLICY.witnesses, [], b"none")
    assert not policy.has_quorum_rule
    assert policy.verify(CHECKPOINT, now=NOW) == ()
    assert len(policy.verify(cosigned("bn-ed", "bn-ml"), now=NOW)) == 2
    nothing = Policy.parse(b"quorum none\n")
    refused(Reason.UNKNOWN_PARTY, nothing.verify, CHECKPOINT, now=NOW)


def test_one_bad_or_future_cosignature_spoils_the_note():
    names = [f"{cc}-ed" for cc in NATIONS]
    good = cosigned(*names)
    key = MLS["bn"].key
    forged = good.with_signatures([Signature(key.name, key.id, b"\1" * 2428)])
    refused(Reason.BAD_SIGNATURE, POLICY.verify, forged, now=NOW)
    refused(Reason.NOT_YET_VALID, POLICY.verify, good, now=NOW - timedelta(minutes=6))
    stranger = good.with_signatures([Cosignature.sign(good, signer("w.example", 4), now=NOW).signature])
    assert len(POLICY.verify(stranger, now=NOW)) == 5


A, B, C = (str(EDS[cc].key).encode() for cc in NATIONS[:3])
LOG_ED = str(LOG[0].key).encode()
WITNESSES = b"witness a %s\nwitness b %s\n" % (A, B)


def twin(key, name, key_type):
    """Return a verifier key of the same public key under another name or type."""
    return str(VerifierKey.make(name, key_type, key.public)).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\n", Reason.MALFORMED),
        (b"quorum none", Reason.MALFORMED),
        (b"quorum none ", Reason.MALFORMED),
        (b"quorum none\r\n", Reason.MALFORMED),
        (b"quorum none\n#\x00\n", Reason.MALFORMED),
        (b"quorum none\n#\x0b\n", Reason.MALFORMED),
        (b"quorum none\n#\x1f\n", Reason.MALFORMED),
        (b"quorum none\n#\x7f\n", Reason.MALFORMED),
        (b"quorum none\n# \xff \xe2\x80\xa8\n", None),
        (b"  \t\n\t# x\n quorum \t none \n", None),
        (WITNESSES, Reason.MALFORMED),
        (b"quorum none\nquorum none\n", Reason.MALFORMED),
        (WITNESSES + b"quorum a\nquorum b\n", Reason.MALFORMED),
        (b"quorum\n", Reason.MALFORMED),
        (b"quorum none none\n", Reason.MALFORMED),
        (b"Quorum none\n", Reason.MALFORMED),
        (b"quorum none\nmirror x\n", Reason.MALFORMED),
        (b"quorum none # comment\n", Reason.MALFORMED),
        (b"quorum\xc2\xa0none\n", Reason.MALFORMED),
        (WITNESSES + b"quorum c\n", Reason.MALFORMED),
        (b"quorum a\n" + WITNESSES, Reason.MALFORMED),
        (WITNESSES + b"quorum a\n", None),
        (WITNESSES + b"quorum A\n", Reason.MALFORMED),
        (WITNESSES + b"witness a %s\nquorum a\n" % C, Reason.MALFORMED),
        (WITNESSES + b"group a any b\nquorum a\n", Reason.MALFORMED),
        (WITNESSES + b"group g any a\ngroup g any b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group none any a\nquorum none\n", Reason.MALFORMED),
        (b"witness none %s\nquorum none\n" % A, Reason.MALFORMED),
        (WITNESSES + b"group g any a none\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g any a c\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g any a g\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g any h\ngroup h any a\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g any a a\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g any\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g 0 a b\nquorum g\n", Reason.BAD_FIELD),
        (WITNESSES + b"group g 3 a b\nquorum g\n", Reason.BAD_FIELD),
        (WITNESSES + b"group g 2 a b\nquorum g\n", None),
        (WITNESSES + b"group g 02 a b\nquorum g\n", Reason.NOT_CANONICAL),
        (WITNESSES + b"group g +2 a b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g -1 a b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g 1_0 a b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + "group g ٢ a b\nquorum g\n".encode(), Reason.MALFORMED),
        (WITNESSES + b"group g ALL a b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g a b\nquorum g\n", Reason.MALFORMED),
        (WITNESSES + b"group g 99999999999999999999 a b\nquorum g\n", Reason.BAD_FIELD),
        (b"witness K %s\nwitness \xe2\x84\xaa %s\nquorum K\n" % (A, B), None),
        (b"witness a\nquorum none\n", Reason.MALFORMED),
        (b"witness a %s url more\nquorum a\n" % A, Reason.MALFORMED),
        (b"witness a nokey\nquorum a\n", Reason.MALFORMED),
        (b"witness a %s\nquorum a\n" % A.replace(b"relay", b"\xff"), Reason.MALFORMED),
        (b"witness a %s\nwitness b %s\nquorum a\n" % (A, A), Reason.BAD_FIELD),
        (b"witness a %s\nwitness b %s\nquorum a\n" % (A, twin(EDS["bn"].key, "x.example", 4)), Reason.BAD_FIELD),
        (b"log %s\nwitness b %s\nquorum b\n" % (LOG_ED, twin(LOG[0].key, "x.example", 4)), Reason.BAD_FIELD),
        (b"log %s\nlog %s\nquorum none\n" % (LOG_ED, LOG_ED), Reason.BAD_FIELD),
        (b"log %s\nquorum none\n" % A, Reason.BAD_FIELD),
        (b"witness a %s\nquorum a\n" % LOG_ED, Reason.BAD_FIELD),
        (b"log %s\nwitness a %s\nquorum a\n" % (LOG_ED, str(LOG[1].key).encode()), Reason.BAD_FIELD),
        (b"log\nquorum none\n", Reason.MALFORMED),
        (b"log %s url more\nquorum none\n" % LOG_ED, Reason.MALFORMED),
        (b"log %s\nquorum none\n" % LOG_ED, None),
    ],
)
def test_forms_of_policies(raw, reason):
    if reason is None:
        assert Policy.parse(raw).raw == raw
    else:
        refused(reason, Policy.parse, raw)


def test_thirty_two_of_each_and_more():
    witnesses = [Witness(b"w%d" % i, signer(f"w{i}.example", 4).key) for i in range(40)]
    logs = [signer(f"log{i}.example", 1).key for i in range(40)]
    groups = [Group(b"g0", 1, (b"w0",)), *(Group(b"g%d" % i, 2, (b"w%d" % i, b"g%d" % (i - 1))) for i in range(1, 40))]
    policy = Policy.make(logs, witnesses, groups, b"g39")
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (40, 40, 40)


def test_groups_may_be_nested_deeper_than_any_stack():
    lines = [b"witness g0 " + A, *(b"group g%d all g%d" % (i, i - 1) for i in range(1, 3000)), b"quorum g2999", b""]
    policy = Policy.parse(b"\n".join(lines))
    assert len(policy.verify(cosigned("bn-ed"), now=NOW)) == 1


def test_changed_policies_are_parsed_or_refused():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(300):
        raw = bytearray(WITNESSES + b"group g 2 a b\nquorum g\n")
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        try:
            assert Policy.parse(bytes(raw)).raw == raw
        except ExchangeError:
            continue
