"""A witness over HTTP through real sockets: an independent client, every status, and everything that is no request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from conftest import AGENCIES
from infoexchange.errors import ExchangeError, Reason
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.submission import SUBMISSION_SIZE_MAX, believed
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint, merkle
from infoexchange.transport import http_witness, utc_now
from infoexchange.transport.http_witness import HttpEndpoint, HttpWitness
from infoexchange.witness import Answer
from infoexchange_relay.witnessing import CosigningDesk
from patience import LIMIT, PATIENT, until

EXCHANGE = Exchange(AGENCIES)
LOG = EXCHANGE.community.log_keys["relay.th.example"]
KEYS = EXCHANGE.community.witness_keys["relay.vn.example"]
NODE: Node = EXCHANGE.nodes["relay.vn.example"]
HASHES = [merkle.leaf_hash(bytes([n])) for n in range(20)]


def note(size: int, hashes: Sequence[bytes] = HASHES, keys: LogKeys = LOG) -> bytes:
    return keys.sign(size, merkle.root(hashes[:size]), now=EXCHANGE.clock()).raw


def body(old: int, size: int, hashes: Sequence[bytes] = HASHES) -> bytes:
    """The request, written by hand as C2SP tlog-witness shows it."""
    proof = merkle.consistency_proof(old, hashes[:size]) if 0 < old < size else []
    head = f"old {old}\n" + "".join(base64.b64encode(entry).decode() + "\n" for entry in proof)
    return head.encode() + b"\n" + note(size, hashes)


class Place:
    """An endpoint in a loop of its own, and a plain client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bugs: list[Exception] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.start()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LIMIT)

    def start(self) -> None:
        self.desk = CosigningDesk(KEYS, NODE, self.folder, shows=True)
        self.endpoint = HttpEndpoint(self.desk.add_submission, self.desk.shown, self.bugs.append)
        self.port = self.do(self.endpoint.start("127.0.0.1", 0))
        self.witness = HttpWitness(f"http://127.0.0.1:{self.port}", timeout=PATIENT)

    def restart(self) -> None:
        """As after a stop of the program: all that is left is on disk."""
        self.do(self.endpoint.stop())
        self.start()

    def close(self) -> None:
        self.do(self.endpoint.stop())
        until(lambda: len(self.loop._selector.get_map()) == 1)  # its own pipe: every connection has ended
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def request(self, method: str, path: str, content: bytes | None = None) -> tuple[int, bytes, str]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)) as connection:
            connection.request(method, path, content)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers["Content-Type"]

    def post(self, content: bytes) -> tuple[int, bytes, str]:
        return self.request("POST", "/add-checkpoint", content)

    def raw(self, sent: bytes, *, end: bool = True) -> bytes:
        """All that comes back for some bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as connection:
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def ask(self, old: int, size: int, hashes: Sequence[bytes] = HASHES) -> Answer:
        """The same with our own asking half."""
        proof = merkle.consistency_proof(old, hashes[:size]) if 0 < old < size else []
        return self.do(self.witness.add_checkpoint(old, proof, note(size, hashes)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with contextlib.closing(Place(tmp_path)) as place:
        yield place
        assert place.bugs == []


def test_a_client_of_somebody_else_goes_from_nothing_to_the_end(place: Place) -> None:
    for old, size in ((0, 5), (5, 13), (13, 13)):
        status, lines, kind = place.post(body(old, size))
        assert (status, kind) == (200, "text/plain; charset=utf-8")
        found = believed(Checkpoint.parse(note(size)), lines, KEYS.verifier_keys, now=EXCHANGE.clock())
        assert len(found) == lines.count(b"\n") == 2
    # Stale, and going back: the size, in the form that clients go by.
    for old, size in ((0, 5), (5, 13), (5, 20), (7, 7), (14, 20)):
        assert place.post(body(old, size)) == (409, b"13\n", "text/x.tlog.size")
    # A fork of the same size, and one that grew.
    fork = [*HASHES[:3], bytes(32), *HASHES[4:]]
    assert place.post(body(13, 13, fork))[:2] == (422, b"log_fork\n")
    assert place.post(body(13, 20, fork))[:2] == (422, b"bad_proof\n")
    assert place.post(b"old 13\n" + base64.b64encode(bytes(32)) + b"\n\n" + note(13))[:2] == (422, b"bad_proof\n")
    assert place.post(body(14, 13))[:2] == (400, b"bad_field\n")
    assert place.post(body(13, 20))[0] == 200


def test_who_is_not_known_and_who_did_not_sign(place: Place) -> None:
    stranger = LogKeys.make("relay.xx.example", now=EXCHANGE.clock())
    assert place.post(b"old 0\n\n" + note(3, keys=stranger))[:2] == (404, b"unknown_party\n")
    good = body(0, 3)
    assert place.post(good.replace(b"\n3\n", b"\n4\n"))[:2] == (403, b"bad_signature\n")
    line = good[good.rindex("\u2014".encode()) :]
    assert place.post(good.removesuffix(line))[:2] == (403, b"bad_signature\n")
    empty = LOG.sign(0, merkle.EMPTY_ROOT, now=EXCHANGE.clock()).raw
    wrong = empty.replace(base64.b64encode(merkle.EMPTY_ROOT), base64.b64encode(bytes(32)))
    assert place.post(b"old 0\n\n" + wrong)[:2] == (422, b"bad_field\n")
    for junk in (b"", b"junk", b"old 0\n", good[:-1], b"old 00\n\n" + note(3), good.replace(b"\n", b"\r\n")):
        status, word, _ = place.post(junk)
        assert (status, word.rstrip() in (b"malformed", b"not_canonical")) == (400, True)
    assert list(place.folder.iterdir()) == []
    assert place.post(good)[0] == 200


def test_what_was_cosigned_is_shown_with_its_cosignatures(place: Place) -> None:
    path = f"/{hashlib.sha256(LOG.origin.encode()).hexdigest()}/checkpoint"
    assert place.request("GET", path)[0] == 404
    stranger = "\u2014 stranger AAAAAAAAAAAA\n".encode()
    for old, size in ((0, 5), (5, 13)):
        place.post(body(old, size) + stranger)
        status, shown, _ = place.request("GET", path)
        found = Checkpoint.parse(shown)
        found.verify(LOG.verifier_keys, now=EXCHANGE.clock())
        assert (status, found.size) == (200, size)
        assert [line.name for line in found.note.signatures] == [LOG.origin] * 2 + ["relay.vn.example/witness"] * 2
    place.restart()
    assert place.request("GET", path)[1] == shown
    for other in (path.upper(), path + "?", path + "/", f"/{'0' * 64}/checkpoint", "/", "/checkpoint", "/../witness"):
        assert place.request("GET", other)[0] == 404
    assert place.request("POST", path, b"")[0] == place.request("HEAD", path)[0] == 404
    assert place.request("GET", "/add-checkpoint")[0] == place.request("POST", "/x/add-checkpoint", b"")[0] == 404


def test_a_restart_forgets_nothing_and_both_ways_share_the_memory(place: Place) -> None:
    party = EXCHANGE.directory.party("relay.th.example", at=EXCHANGE.clock())
    assert place.post(body(0, 5))[0] == 200
    place.restart()
    assert place.post(body(0, 3)) == (409, b"5\n", "text/x.tlog.size")
    proof = merkle.consistency_proof(5, HASHES[:9])
    assert place.do(place.desk.add_checkpoint(party, 5, proof, note(9))).lines
    assert place.post(body(5, 13))[:2] == (409, b"9\n")
    fork = [bytes(32), *HASHES[1:]]
    assert place.post(body(9, 9, fork))[:2] == (422, b"log_fork\n")
    assert place.ask(9, 13).lines
    assert place.do(place.desk.add_checkpoint(party, 0, [], note(13))) == Answer(13)


def test_both_halves_understand_each_other(place: Place) -> None:
    answer = place.ask(0, 5)
    assert len(believed(Checkpoint.parse(note(5)), answer.lines, KEYS.verifier_keys, now=EXCHANGE.clock())) == 2
    assert answer.size == 5
    assert place.ask(0, 13) == Answer(5)
    for call, reason in (
        (lambda: place.ask(5, 5, [bytes(32), *HASHES[1:]]), Reason.BAD_PROOF),
        (lambda: place.ask(6, 5), Reason.BAD_FIELD),
        (lambda: place.do(HttpWitness(place.witness.url + "/x", timeout=PATIENT).add_checkpoint(0, [], note(5))),
         Reason.UNKNOWN_PARTY),
    ):  # fmt: skip
        with pytest.raises(ExchangeError) as caught:
            call()
        assert caught.value.reason is reason
    assert place.ask(5, 13).size == 13


HEAD = b"POST /add-checkpoint HTTP/1.1\r\nHost: a\r\n"


NO_REQUESTS = (
    b"\r\n\r\n", b"junk\r\n\r\n", b"GET / HTTP/1.1\n\n", b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET / HT", b"",
    b"get / HTTP/1.1\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"GET http://a/ HTTP/1.1\r\n\r\n", HEAD[:-3],
    b"GET / HTTP/1.1 \r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", HEAD + b"Content-Length: +3\r\n\r\nabc",
    HEAD + b"Content-Length: 03\r\n\r\nabc", HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"Content-Length:\r\n\r\n",
    HEAD + b"Content-Length: 3, 3\r\n\r\nabc", HEAD + b"Content-Length : 3\r\n\r\nabc",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HEAD + b"A: b\r\n c\r\n\r\n", HEAD + b"A: b\nB: c\r\n\r\n",
    HEAD + b"A: \x00\r\n\r\n", HEAD + b"no colon\r\n\r\n", HEAD + b": b\r\n\r\n",
    HEAD + b"Content-Length: 99\r\n\r\nabc",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", HEAD + b"A: b\r\n" * 2000 + b"\r\n", b"a" * 100_000,
)  # fmt: skip


def test_what_is_no_request_is_answered_once_and_closed(place: Place) -> None:
    for sent in NO_REQUESTS:
        answer = place.raw(sent)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), sent[:99]
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith((b"\r\n\r\nmalformed\n", b"\r\n\r\nnot_canonical\n"))
        assert answer.count(b"HTTP/1.1") == 1


def test_more_than_a_submission_holds_is_not_read(place: Place) -> None:
    for size in (SUBMISSION_SIZE_MAX + 1, 10**9):
        answer = place.raw(HEAD + b"Content-Length: %d\r\n\r\n" % size + bytes(SUBMISSION_SIZE_MAX + 1))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\ntoo_large\n")
    assert place.raw(HEAD + b"Content-Length: %d\r\n\r\n" % 10**30).endswith(b"\r\n\r\nbad_field\n")


def test_other_clients_manners(place: Place) -> None:
    content = body(0, 5)
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(content)
    assert place.raw(expecting + content).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    # A proxy that speaks the older version, and one request behind another, of which only the first is answered.
    old = b"POST /add-checkpoint HTTP/1.0\r\ncontent-length:%d \r\n\r\n" % len(content)
    assert place.raw(old + content + old + content).count(b"HTTP/1.1 409 ") == 1


def test_half_a_request_ends_when_its_time_is_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_witness, "_READ_SECONDS", 0.05)
    for sent in (HEAD, HEAD + b"Content-Length: 9\r\n\r\nold"):
        assert place.raw(sent, end=False).startswith(b"HTTP/1.1 408 ")
    monkeypatch.undo()
    assert place.post(body(0, 5))[0] == 200


def test_a_crowd_is_sent_away_and_those_inside_are_served(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_witness, "_CONNECTIONS_MAX", 2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            inside = stack.enter_context(socket.create_connection(("127.0.0.1", place.port), timeout=LIMIT))
        until(lambda: len(place.endpoint._open) == 2)
        assert place.raw(b"", end=False).startswith(b"HTTP/1.1 503 ")
        inside.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert inside.recv(12) == b"HTTP/1.1 404"
    until(lambda: not place.endpoint._open)
    assert place.post(body(0, 5))[0] == 200


def test_what_should_not_be_is_told_to_the_operator_only(tmp_path: Path) -> None:
    with contextlib.closing(Place(tmp_path)) as place:

        async def broken(_: object) -> Answer:
            raise OSError("/a/secret/place")

        place.endpoint._add_submission = broken
        status, content, _ = place.post(body(0, 5))
        assert (status, content) == (500, b"")
        assert [type(bug) for bug in place.bugs] == [OSError]


# Witnesses that are none


def test_a_witness_that_answers_anything(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_witness, "_REPLY_SIZE_MAX", 10_000)
    answers = iter(
        (b"", b"junk", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500,
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\nx",
         b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
         b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 10_000)
    )  # fmt: skip

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n\n")
        writer.write(next(answers))
        await writer.drain()
        writer.close()

    server = place.do(asyncio.start_server(answering, "127.0.0.1", 0))
    witness = HttpWitness(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=PATIENT)
    for _ in range(8):
        with pytest.raises(ExchangeError) as caught:
            place.do(witness.add_checkpoint(0, [], note(5)))
        assert caught.value.reason is Reason.UNAVAILABLE
    assert next(answers, None) is None
    place.loop.call_soon_threadsafe(server.close)


def test_a_witness_that_is_not_there_or_says_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_witness, "_READ_SECONDS", 0.05)  # of the endpoint, which makes nothing of TLS
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for timeout, url in (
            (PATIENT / 1000, f"http://127.0.0.1:{port}"),
            (PATIENT, f"https://127.0.0.1:{place.port}"),
        ):
            with pytest.raises(ExchangeError) as caught:
                place.do(HttpWitness(url, timeout=timeout).add_checkpoint(0, [], note(5)))
            assert caught.value.reason is Reason.UNAVAILABLE
    for url in (f"http://127.0.0.1:{port}", "http://" + "a" * 64 + ".example"):
        with pytest.raises(ExchangeError) as caught:
            place.do(HttpWitness(url, timeout=PATIENT).add_checkpoint(0, [], note(5)))
        assert caught.value.reason is Reason.UNAVAILABLE


def test_over_tls_only_a_trusted_certificate_of_that_host_will_do(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "ca.pem", tmp_path / "leaf.pem"
    certified(*files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1])

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n\n")
        writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n7\n")
        writer.close()

    server = place.do(asyncio.start_server(answering, "127.0.0.1", 0, ssl=context))
    port = server.sockets[0].getsockname()[1]

    def asked(host: str) -> Answer:
        return place.do(HttpWitness(f"https://{host}:{port}/any", timeout=PATIENT).add_checkpoint(0, [], note(5)))

    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    assert asked("127.0.0.1") == Answer(7)
    for host, anchor in (("localhost", files[0]), ("127.0.0.1", tmp_path / "none.pem")):
        monkeypatch.setenv("SSL_CERT_FILE", str(anchor))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        with pytest.raises(ExchangeError) as caught:
            asked(host)
        assert caught.value.reason is Reason.UNAVAILABLE
    place.loop.call_soon_threadsafe(server.close)


def certified(ca_file: Path, leaf_file: Path) -> None:
    """Write a CA, and a certificate for 127.0.0.1 with its key, as the public web has them."""
    now, keys = utc_now(), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = []
    for key, name, is_ca in ((keys[0], ca_name, True), (keys[1], x509.Name([]), False)):
        builder = x509.CertificateBuilder(ca_name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension, critical in (
            (x509.BasicConstraints(ca=is_ca, path_length=None), True),
            (x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **usage), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), False),
            (x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), not is_ca),
        ):
            builder = builder.add_extension(extension, critical)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ca_file.write_bytes(made[0])
    leaf_file.write_bytes(made[1] + secret)
