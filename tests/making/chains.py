"""Chains: certificates and their lists, proofs under a log's keys, witnesses, data and latch, errors on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from infoexchange.certificates import NationalCa
from infoexchange.errors import Reason, error
from infoexchange.tlog import Proof, merkle
from infoexchange.transport import status
from making.case import Case, at
from making.logs import RELAY, proven
from making.world import NOW, Makers, Worlds
from test_certificates import NOW as THEN
from test_certificates import ca, common_name, leaf

NAME = "desk.oncb.th.example"
DNS = x509.DNSName(NAME)


def certificate() -> Iterator[Case]:
    """Yield leaves under a CA."""
    good = ca()

    def case(
        name: str, expect: str, step: int, comment: str, der: bytes, *, under: bytes = good, now: datetime = THEN
    ) -> Case:
        blocks = (der, under)
        return Case(
            f"certificate-{name}", "certificate.verify", expect, blocks, comment, f"Certificates {step}", (at(now),)
        )

    own = leaf(DNS)
    yield case("ok", "ok", 4, "one dNSName below the CA's constraint", own)
    bad = "bad_certificate"
    yield case("garbage", bad, 1, "no certificate", b"\x30\x03\x02\x01\x01")
    yield case("large", bad, 1, "over 16 KiB", bytes(16 * 1024 + 1))
    yield case("no-name", bad, 1, "no alternative name", leaf())
    yield case("common-name", bad, 1, "a common name alone", leaf(subject=common_name(NAME)))
    yield case("two-names", bad, 1, "two dNSNames", leaf(DNS, x509.DNSName("other.th.example")))
    yield case("mail-too", bad, 1, "a dNSName and a mail address", leaf(DNS, x509.RFC822Name("a@th.example")))
    yield case("uri", bad, 1, "a URI", leaf(x509.UniformResourceIdentifier("https://desk.th.example")))
    yield case("wildcard", "bad_field", 1, "a wildcard", leaf(x509.DNSName("*.th.example")))
    yield case("capitals", "bad_field", 1, "a name in capitals", leaf(x509.DNSName("DESK.th.example")))
    stranger = NationalCa.make("th.example", now=THEN)
    yield case("issuer", bad, 2, "a CA that is not the one given", own, under=stranger.certificate)
    yield case(
        "signature",
        bad,
        2,
        "the CA's name on a signature by another key",
        leaf(DNS, signer=ec.generate_private_key(ec.SECP256R1())),
    )
    yield case("constraint", bad, 2, "a name outside the CA's constraint", leaf(x509.DNSName("desk.vn.example")))
    yield case("late", bad, 2, "after its end", own, now=THEN + timedelta(days=31))
    yield case("early", bad, 2, "before its beginning", own, now=THEN - timedelta(hours=1))
    for name, comment, other in (
        ("ca-unconstrained", "a CA without name constraint", ca(None)),
        ("ca-not-critical", "a constraint that is not critical", ca(critical=False)),
        ("ca-is-none", "a CA that is none", ca(is_ca=False)),
    ):
        yield case(name, bad, 2, comment, own, under=other)
    yield case("rsa", bad, 3, "an RSA key", leaf(DNS, key=rsa.generate_private_key(65537, 2048)))
    yield case("p384", bad, 3, "an ECDSA P-384 key", leaf(DNS, key=ec.generate_private_key(ec.SECP384R1())))


def lists(makers: Makers) -> Iterator[Case]:
    """Yield a leaf beside lists of its CA."""
    issuer, issued = makers.community.cas["th"], makers.members[NAME].certificates[0]
    serial = x509.load_der_x509_certificate(issued).serial_number
    revoked = issuer.crl(now=NOW, revoked=[(serial, NOW)])
    later = issuer.crl(now=NOW, revoked=[(serial, NOW + timedelta(days=1))])
    forged = NationalCa.make("th.example", now=NOW).crl(now=NOW)
    bad = "bad_certificate"
    for name, expect, comment, crls in (
        ("ok-list", "ok", "a list that does not name it", (issuer.crl(now=NOW),)),
        ("listed", "revoked", "a list names it", (revoked,)),
        ("ok-listed-later", "ok", "a list names it from tomorrow", (later,)),
        ("listed-once", "revoked", "an older list names it, a newer does not", (revoked, issuer.crl(now=NOW))),
        ("list-forged", bad, "a list in the CA's name by another key", (forged,)),
        ("list-garbage", bad, "a list that is none", (b"x",)),
    ):
        blocks, where = (issued, issuer.certificate, *crls), "Certificates 4"
        yield Case(f"certificate-{name}", "certificate.verify", expect, blocks, comment, where, (at(NOW),))


def proofs(makers: Makers) -> Iterator[Case]:
    """Yield proofs of an entry under the keys of its log."""
    entry, receipt, _ = proven(makers)
    log = makers.community.log_keys["relay.vn.example"]
    keys = tuple(str(key).encode() for key in log.verifier_keys)
    others = tuple(str(key).encode() for key in makers.community.log_keys[RELAY].verifier_keys)

    def case(
        name: str,
        expect: str,
        step: int,
        comment: str,
        proof: bytes,
        with_keys: tuple[bytes, ...] = keys,
        origin: str = log.origin,
    ) -> Case:
        blocks = (proof, entry.leaf, *with_keys)
        return Case(
            f"proof-{name}", "proof.verify", expect, blocks, comment, f"Notes and proofs {step}", (("party", origin),)
        )

    good = receipt.proof.raw
    yield case("ok", "ok", 3, "an entry of three", good)
    yield case("origin", "unknown_party", 1, "another log than expected", good, origin="relay.th.example/audit/2026h1")
    note, path = receipt.proof.checkpoint.raw, receipt.proof.path
    half = note.rpartition("— ".encode())[0]
    yield case("half", "bad_signature", 2, "signed by one of the log's two keys", Proof.make(1, path, half).raw)
    yield case("keys", "unknown_party", 1, "judged with the keys of another log", good, others)
    yield case("path", "bad_proof", 3, "a path to another root", Proof.make(1, [path[0], bytes(32)], note).raw)
    yield case("place", "bad_proof", 3, "another place", Proof.make(0, path, note).raw)
    for name, comment, raw in (
        ("heading", "another heading", good.replace(b"tlog-proof@v1", b"tlog-proof@v2")),
        ("extra", "an extra line", good.replace(b"index 1\n", b"index 1\nextra AAAA\n")),
        ("index", "an index with a leading zero", good.replace(b"index 1\n", b"index 01\n")),
        ("no-note", "no note", good.partition(b"\n\n")[0]),
    ):
        expect = {"heading": "unknown_version", "index": "not_canonical"}.get(name, "malformed")
        yield Case(f"proof-form-{name}", "proof.parse", expect, (raw,), comment)


def witnesses(makers: Makers) -> Iterator[Case]:
    """Yield checkpoints for a witness; the first block is what it remembers, the second what comes now."""
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(8)]
    log = makers.community.log_keys[RELAY]

    def note(size: int, root: bytes = b"", moved: timedelta = timedelta(0)) -> bytes:
        return log.sign(size, root or merkle.root(leaves[:size]), now=NOW + moved).raw

    def case(
        name: str, expect: str, step: int, comment: str, before: bytes, now: bytes, proof: list[bytes], old: int
    ) -> Case:
        more = (("world", "one"), at(NOW), ("index", str(old)))
        blocks = (before, now, *proof)
        return Case(f"witness-{name}", "witness.add", expect, blocks, comment, f"Witnesses {step}", more)

    grown = merkle.consistency_proof(5, leaves)
    yield case("ok-first", "ok", 5, "the first of a log", b"", note(5), [], 0)
    yield case("ok-grown", "ok", 5, "one that extends the last", note(5), note(8), grown, 5)
    yield case("ok-same", "ok", 5, "the same size again", note(5), note(5), [], 5)
    yield case(
        "ok-behind", "ok", 2, "from a size that is not the last: the answer is that size", note(5), note(8), [], 0
    )
    forged = note(8).replace(b"\n8\n", b"\n7\n")
    yield case("unsigned", "bad_signature", 1, "another size under the signatures", note(5), forged, [], 5)
    yield case(
        "future", "not_yet_valid", 1, "signed six minutes ahead", b"", note(5, moved=timedelta(minutes=6)), [], 0
    )
    yield case("shrunk", "bad_field", 1, "an old size beyond the new one", note(5), note(3), [], 5)
    yield case("fork", "log_fork", 3, "the same size with another root", note(5), note(5, bytes(32)), [], 5)
    yield case("history", "bad_proof", 3, "a tree with another past", note(5), note(8, bytes(32)), grown, 5)
    yield case("needless", "bad_proof", 3, "a proof where there is nothing to prove", b"", note(5), [bytes(32)], 0)


def latches(makers: Makers) -> Iterator[Case]:
    """Yield a relay's start: the block is the latch, `size` how many entries its data holds."""
    log = makers.community.log_keys[RELAY]
    del makers
    yield Case(
        "latch-ahead",
        "log.start",
        "log_stopped",
        (log.sign(3, bytes(32), now=NOW).raw,),
        "the data is older than the latch",
        "Log before act 3",
        (("world", "one"), at(NOW)),
    )
    yield Case("latch-ok", "log.start", "ok", (b"",), "a new log", "Log before act 4", (("world", "one"), at(NOW)))


def errors() -> Iterator[Case]:
    """Yield google.rpc.Status bytes, as a failed call carries them."""
    for reason in Reason:
        raw = status.details_of(error(reason, field="field", detail="detail"))
        yield Case(f"status-{reason.word.replace('_', '-')}", "status.read", reason.word, (raw,), "a failed call")


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    makers = worlds.one
    yield from certificate()
    yield from lists(makers)
    yield from proofs(makers)
    yield from witnesses(makers)
    yield from latches(makers)
    yield from errors()
