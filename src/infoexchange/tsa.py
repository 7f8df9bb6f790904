"""Tsa: what a time authority says of a checkpoint, as an RFC 3161 token (SPEC section Timestamps; extra `tsa`).

It bounds the time of every entry under that checkpoint by the word of somebody who belongs to no relay. Nothing here
asks the authority: the bytes of the query go to it and those of its reply come from it in whatever way the caller has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography import x509

from infoexchange import certificates
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.tlog.checkpoint import SKEW_MAX

if TYPE_CHECKING:
    import rfc3161_client

# Specification constants
TOKEN_SIZE_MAX = 64 * 1024  # SPEC section Limits: a reply with a chain of four large certificates is below 16 KiB
ACCURACY_MAX = timedelta(days=1)  # SPEC section Limits: who knows the time no better than that is no authority on it
_SHA256 = "2.16.840.1.101.3.4.2.1"  # id-sha256; every authority takes it, and the log rests on it anyway
_GRANTED = 0  # RFC 3161, PKIStatus; `grantedWithMods` would be another stamp than the one asked for
_SECOND = timedelta(seconds=1)  # the reader of tokens gives whole seconds: the time lies within the one after it


@dataclass(frozen=True)
class TimeQuery:
    """A question to a time authority: the bytes to send, as `application/timestamp-query`.

    Attributes:
        raw: A TimeStampReq of RFC 3161.
        nonce: What the answer has to repeat, so that an old one cannot pass for it.
    """

    raw: bytes
    nonce: int

    @classmethod
    def make(cls, message: bytes) -> TimeQuery:
        """Return a new question about a message, such as the exact bytes of a signed checkpoint.

        Raises:
            UnavailableError: `UNAVAILABLE` when the extra is not installed.
        """
        library = _library()
        asked = library.TimestampRequestBuilder().data(message).hash_algorithm(library.HashAlgorithm.SHA256).build()
        return cls(asked.as_bytes(), asked.nonce or 0)


@dataclass(frozen=True)
class Authorities:
    """Whom a verifier believes about the time.

    Attributes:
        certificates: Roots, and of authorities that leave them out of their tokens also the others of the chain.
    """

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def parse(cls, pem: bytes) -> Authorities:
        """Return the certificates of a PEM file.

        Raises:
            UntrustedError: `BAD_CERTIFICATE` when it holds none, or something else.
            UnavailableError: `UNAVAILABLE` when the extra is not installed: no token could be verified.
        """
        _library()
        return cls(tuple(certificates.load(der) for der in certificates.from_pem(pem)))


@dataclass(frozen=True)
class Stamped:
    """What a time authority has said, verified.

    Attributes:
        time: When it stamped, by its clock; in whole seconds, what is less is cut off.
        accuracy: How wrong its clock may be, by its own word; nothing where it says nothing.
        authority: Subject of its certificate, as RFC 4514 writes names.
        policy: Number of the rules by which it works, as an OID with dots.
    """

    time: datetime
    accuracy: timedelta | None
    authority: str
    policy: str

    @property
    def by(self) -> datetime:
        """The latest time at which the message existed, if the authority is right."""
        return self.time + _SECOND + (self.accuracy or timedelta())


@dataclass(frozen=True)
class TimeStamp:
    """A parsed reply of a time authority: nothing in it may be believed before `verify` has returned.

    Attributes:
        raw: The TimeStampResp of RFC 3161, as OpenSSL writes it into files named .tsr.
    """

    raw: bytes
    _parsed: rfc3161_client.TimeStampResponse = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes) -> TimeStamp:
        """Return the reply in `raw`.

        Raises:
            RefusedError: `TOO_LARGE`.
            MalformedError: `MALFORMED` when it is no DER, or holds no token: the authority has said no.
            UnavailableError: `UNAVAILABLE` when the extra is not installed.
        """
        # (1) a reply with a token
        if len(raw) > TOKEN_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="timestamp", detail=f"more than {TOKEN_SIZE_MAX} bytes")
        library = _library()
        try:
            parsed = library.decode_timestamp_response(raw)
            _ = parsed.tst_info, parsed.signed_data  # where there is none, only asking for it says so
            return cls(raw, parsed)
        except Exception:  # noqa: BLE001  foreign code on anybody's bytes; whatever it says, they are no reply
            detail = "not an RFC 3161 reply with a token, in DER"
            raise error(Reason.MALFORMED, field="timestamp", detail=detail) from None

    def verify(self, message: bytes, authorities: Authorities, *, now: datetime, nonce: int | None = None) -> Stamped:
        """Return what the authority has said about the message. Revocation is not asked for.

        Args:
            message: The stamped bytes.
            authorities: Whom the verifier believes.
            now: The verifier's clock; a time more than 5 minutes later is refused.
            nonce: That of the query, if this is the answer to one's own.

        Raises:
            UntrustedError: `BAD_SIGNATURE` when it is not signed, for this purpose and at a time when its certificate
                was valid, under one of the authorities; `BAD_PROOF` when it stamps other bytes.
            MalformedError: `BAD_FIELD` for a status, hash algorithm or accuracy that section Timestamps does not allow.
            RefusedError: `REPLAYED` for the answer to another query, `NOT_YET_VALID`.
        """
        try:
            signer = self._signer(authorities)
            info = self._parsed.tst_info
            said = info.message_imprint
            self._check_signed(authorities, signer, said.message)
            found = Stamped(
                info.gen_time, _accuracy(info.accuracy), signer.subject.rfc4514_string(), info.policy.dotted_string
            )
            algorithm, digest, echo = said.hash_algorithm.dotted_string, said.message, info.nonce
        except ExchangeError:
            raise
        except Exception:  # noqa: BLE001  as in `parse`: much of a token is read only when it is asked for
            raise error(Reason.MALFORMED, field="timestamp", detail="a token that cannot be read") from None
        # (4) over these bytes
        if algorithm != _SHA256:
            raise error(Reason.BAD_FIELD, field="timestamp.hash_algorithm", detail=f"{algorithm} instead of SHA-256")
        if digest != sha256(message).digest():
            raise error(Reason.BAD_PROOF, field="timestamp", detail="it stamps other bytes")
        # (5) a time that can be
        if found.accuracy is not None and found.accuracy > ACCURACY_MAX:
            raise error(Reason.BAD_FIELD, field="timestamp.accuracy", detail="more than a day")
        if found.time > now + SKEW_MAX:
            raise error(Reason.NOT_YET_VALID, field="timestamp", detail=f"stamped at {found.time:%Y-%m-%dT%H:%M:%SZ}")
        if nonce is not None and echo != nonce:
            raise error(Reason.REPLAYED, field="timestamp.nonce", detail="the answer to another query")
        return found

    def _signer(self, authorities: Authorities) -> x509.Certificate:
        """Return the one certificate that the token says it is signed with; not verified."""
        signed = self._parsed.signed_data
        signers = list(signed.signer_infos)
        carried = [x509.load_der_x509_certificate(der) for der in signed.certificates]
        # (2) one signer, and no second certificate that could be meant: its name and its purpose are read from it
        found = [
            c
            for c in carried or authorities.certificates
            if len(signers) == 1 and (c.issuer, c.serial_number) == (signers[0].issuer, signers[0].serial_number)
        ]
        if len(found) != 1:
            detail = f"{len(signers)} signers, {len(found)} certificates for them"
            raise error(Reason.BAD_SIGNATURE, field="timestamp", detail=detail)
        return found[0]

    def _check_signed(self, authorities: Authorities, signer: x509.Certificate, digest: bytes) -> None:
        # (1) granted as it was asked for
        if self._parsed.status != _GRANTED:
            raise error(Reason.BAD_FIELD, field="timestamp.status", detail=f"{self._parsed.status} instead of granted")
        # (3) for this purpose, and under somebody whom the verifier believes, at the time stated
        library = _library()
        roots: Sequence[x509.Certificate] = authorities.certificates
        # Only a certificate that the verifier named may be handed over as the authority's own: it counts as believed.
        own = signer if signer in roots else None
        try:
            library.VerifierBuilder(roots=list(roots), tsa_certificate=own).build().verify(self._parsed, digest)
        except library.VerificationError:
            detail = "not signed by a time authority under the certificates given"
            raise error(Reason.BAD_SIGNATURE, field="timestamp", detail=detail) from None


def _accuracy(said: rfc3161_client.Accuracy | None) -> timedelta | None:
    """Return seconds, thousandths and millionths, each of which may be left out, as one span."""
    if said is None:
        return None
    return timedelta(seconds=said.seconds or 0, milliseconds=said.millis or 0, microseconds=said.micros or 0)


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError:
        next_step = "Install it: pip install 'infoexchange[tsa]'"
        detail = "RFC 3161 is not installed"
        raise error(Reason.UNAVAILABLE, field="time authority", detail=detail, next_step=next_step) from None
    return rfc3161_client
