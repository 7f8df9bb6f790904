"""Timekeeper: a time authority of one's own, `openssl ts` behind HTTP on loopback, and what a lying one would say."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(days=1)
POLICY = "1.3.6.1.4.1.99999.1"
NAME = "CN=Time authority,O=Tests"
SETTINGS = f"""\
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = signer.pem
signer_key = signer.key
signer_digest = sha256
default_policy = {POLICY}
digests = sha256, sha512
accuracy = secs:1, millisecs:500
"""
# What `openssl ts` once said about b"hello", and the root of that authority: for tests of bytes, where no OpenSSL is.
FROZEN_AT = datetime(2026, 11, 22, 12, 21, 26, tzinfo=UTC)
FROZEN = base64.b64decode(
    """
MIIDijADAgEAMIIDgQYJKoZIhvcNAQcCoIIDcjCCA24CAQMxDzANBglghkgBZQMEAgEFADB8BgsqhkiG9w0BCRABBKBtBGswaQIBAQYJKwYBBAGG
jR8BMDEwDQYJYIZIAWUDBAIBBQAEICzyTbpfsKMOJug7KsW54p4bFh5cH6dCXnMEM2KTi5gkAgECGA8yMDI2MTEyMjEyMjEyNlowBwIBAYACAfQC
CQDVLp4+vzheqaCCAYAwggF8MIIBIqADAgECAhR3Y7OMccjBKzukXshGJrQrXcUhTzAKBggqhkjOPQQDAjA1MQ4wDAYDVQQKDAVUZXN0czEjMCEG
A1UEAwwaUm9vdCBvZiB0aGUgdGltZSBhdXRob3JpdHkwIBcNMjYwOTIzMTIyMTI2WhgPMjA1NjExMTQxMjIxMjZaMCkxDjAMBgNVBAoMBVRlc3Rz
MRcwFQYDVQQDDA5UaW1lIGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOjCup+FtBUQOY4+jR4OQCUPOZxKNxLnXMPIsv3rocB7
I3KIsSpl/VMvHchmJIwm3jupqjfbDDNSq0944mO3ruSjGjAYMBYGA1UdJQEB/wQMMAoGCCsGAQUFBwMIMAoGCCqGSM49BAMCA0gAMEUCIDuRgfjE
Y0brIcnwa76hchbuhH6fLA21bteVvJ74TupsAiEAsrk9yX30EhQEh5MH/o28tOhXZ98DCE939F5jxZNbqwgxggFUMIIBUAIBATBNMDUxDjAMBgNV
BAoMBVRlc3RzMSMwIQYDVQQDDBpSb290IG9mIHRoZSB0aW1lIGF1dGhvcml0eQIUd2OzjHHIwSs7pF7IRia0K13FIU8wDQYJYIZIAWUDBAIBBQCg
gZgwGgYJKoZIhvcNAQkDMQ0GCyqGSIb3DQEJEAEEMBwGCSqGSIb3DQEJBTEPFw0yNjExMjIxMjIxMjZaMCsGCyqGSIb3DQEJEAIMMRwwGjAYMBYE
FNS1UzTn9y7jO462NMXihBCDf2u0MC8GCSqGSIb3DQEJBDEiBCCczBNPN1xSq9gvcb7c7wWaX545hsXNWasUYzQ1mzBw+zAKBggqhkjOPQQDAgRG
MEQCIGrcc941k0tcK6Vq5btlSAGI7TMszt/G00NlSU1ePY4AAiAbCtvE2WrCgG1TWPCc00WbJYZKbO/yM/MJqX/maTOjpw==
    """
)
FROZEN_ROOT = b"""\
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUU1PYuXTcgkLGkjTAjhWCv4bK4TcwCgYIKoZIzj0EAwIw
NTEOMAwGA1UECgwFVGVzdHMxIzAhBgNVBAMMGlJvb3Qgb2YgdGhlIHRpbWUgYXV0
aG9yaXR5MB4XDTI2MDkyMzEyMjEyNloXDTI2MTIyMjEyMjEyNlowNTEOMAwGA1UE
CgwFVGVzdHMxIzAhBgNVBAMMGlJvb3Qgb2YgdGhlIHRpbWUgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElX7mCqEZnkygtFRTioALu/yKw4uFeP35
ObdKNFQwio+sc44e1G7xjsKz+97P358384haek7a01YrDoF7AWpCi6MTMBEwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1r6cgf7knoNlLj0Rf1rM
mB27TaQZTxwDPzvwNWQsDzsCIBfPdXZTMJzcmWJwtHFPmGXEKw0bzD5IYHTj2NmN
qIXs
-----END CERTIFICATE-----
"""


class Timekeeper:
    """A root, and a signer under it that stamps whatever it is asked to."""

    def __init__(self, folder: Path, *, name: str = "Time authority", until: timedelta = 30 * DAY) -> None:
        folder.mkdir()
        self.folder = folder
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = _certificate(self._root_key, f"Root of {name}", until=30 * DAY)
        self.signer = self.certify("signer", name, until=until)
        self.roots = _pem(self.root)
        (folder / "roots.pem").write_bytes(self.roots)
        (folder / "serial").write_text("01")
        (folder / "settings").write_text(SETTINGS)

    def certify(
        self, file: str, name: str, *, usage: x509.ObjectIdentifier | None = None, until: timedelta = 30 * DAY
    ) -> x509.Certificate:
        """Make a key and a certificate under the root, and put both into files."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = usage or x509.ExtendedKeyUsageOID.TIME_STAMPING
        made = _certificate(key, name, issuer=(self.root, self._root_key), usage=usage, until=until)
        (self.folder / f"{file}.pem").write_bytes(_pem(made))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(*form))
        return made

    def reply(self, query: bytes, *changes: str) -> bytes:
        """Return the answer to a query; a change is a line of the settings instead of the one of that name, if any."""
        names = {change.partition(" = ")[0] for change in changes}
        kept = [line for line in SETTINGS.splitlines() if line.partition(" = ")[0] not in names]
        (self.folder / "settings").write_text(
            "\n".join([*kept, *(change for change in changes if " = " in change), ""])
        )
        (self.folder / "query").write_bytes(query)
        self.openssl("ts", "-reply", "-config", "settings", "-queryfile", "query", "-out", "reply")
        return (self.folder / "reply").read_bytes()

    def query(self, message: bytes, *options: str) -> bytes:
        """Return a query as OpenSSL makes it."""
        (self.folder / "message").write_bytes(message)
        self.openssl("ts", "-query", "-data", "message", *options, "-out", "query")
        return (self.folder / "query").read_bytes()

    def forged(self, reply: bytes, signer: str, *options: str) -> bytes:
        """Return a reply that says the same, signed with another key of this folder."""
        (self.folder / "reply").write_bytes(reply)
        self.openssl("ts", "-reply", "-in", "reply", "-token_out", "-out", "token")
        self.openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token", "-out", "said")
        what = ("-binary", "-nodetach", "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-in", "said")
        key = ("-signer", f"{signer}.pem", "-inkey", f"{signer}.key")
        self.openssl("cms", "-sign", *what, *key, *options, "-outform", "DER", "-out", "forged")
        content = bytes.fromhex("3003020100") + (self.folder / "forged").read_bytes()  # PKIStatusInfo: granted
        return b"\x30\x82" + len(content).to_bytes(2, "big") + content

    def second(self, of: x509.Certificate) -> None:
        """Put a certificate into `second.pem` that has the issuer and the serial number of another."""
        made = _certificate(ec.generate_private_key(ec.SECP256R1()), "Somebody else", twin=of)
        (self.folder / "second.pem").write_bytes(_pem(made))

    def openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)


def timekeeper(folder: Path, **how: object) -> Timekeeper:
    """Return a new authority, or skip where there is none to be had."""
    if not shutil.which("openssl"):
        pytest.skip("the command openssl is not installed")
    pytest.importorskip("rfc3161_client", reason="the extra tsa is not installed")
    return Timekeeper(folder, **how)


class Counter:
    """The authority's address, and what it says there now.

    Attributes:
        url: Where it is asked.
        says: Gives the answer to a query, or raises, and then the connection just ends.
        asked: Queries so far.
        status: Of its answers.
        headers: Of its answers.
    """

    def __init__(self, says: Callable[[bytes], bytes]) -> None:
        self.says = says
        self.asked = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        counter = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                counter.asked += 1
                assert self.headers["Content-Type"] == "application/timestamp-query"
                query = self.rfile.read(int(self.headers["Content-Length"]))
                with contextlib.suppress(OSError):  # nobody reads any more, or it says nothing on purpose
                    raw = counter.says(query)
                    self.send_response(counter.status)
                    self.send_header("Content-Type", "application/timestamp-reply")
                    for name, value in counter.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(raw)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsr"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    *,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    twin: x509.Certificate | None = None,
    usage: x509.ObjectIdentifier | None = None,
    until: timedelta = 30 * DAY,
) -> x509.Certificate:
    now = datetime.now(UTC)
    attributes = [
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)
    ]  # fmt: skip
    subject = x509.Name(attributes)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(twin.issuer if twin else issuer[0].subject if issuer else subject)
        .serial_number(twin.serial_number if twin else x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(now - 60 * DAY)
        .not_valid_after(now + until)
    )
    if issuer or twin:
        wanted = usage or x509.ExtendedKeyUsageOID.TIME_STAMPING
        made = made.add_extension(x509.ExtendedKeyUsage([wanted]), critical=True)
    else:
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
