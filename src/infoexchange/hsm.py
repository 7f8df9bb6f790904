"""HSM: an identity key in a hardware token, reached through PKCS#11 (SPEC section Key files; extra `hsm`).

The token holds the Ed25519 half, which signs there and never leaves. Tokens know neither ML-DSA nor X-Wing yet, so the
other half and the short-lived epoch keys stay in the agency's key file. A session lasts for one signature: key bundles
are signed once in weeks, and a token that is pulled out is noticed at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from infoexchange import suites
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    import pkcs11

Pin = Callable[[str], str]  # gives the PIN of the token with a label

# Implementation constants
_EDWARDS25519 = bytes.fromhex("06032b6570")  # id-Ed25519 of RFC 8410 as DER: the curve, as PKCS#11 3.0 names it
_POINTS = (b"\x04\x20", b"\x03\x21\x00", b"")  # tokens wrap the 32 bytes as OCTET STRING, as BIT STRING or not at all
_SHORT = ("token", "object", "module-path")


@dataclass(frozen=True)
class Place:
    """Where a key is: the token's driver, the token's label and the key's label."""

    module: str
    token: str
    label: str

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Return the place that a PKCS#11 URI (RFC 7512) names.

        Raises:
            MalformedError: `BAD_FIELD` when it is none, names less or more than the three parts, or carries a PIN.
        """
        scheme, colon, rest = uri.partition(":")
        path, _, query = rest.partition("?")
        pairs = [part.partition("=") for part in (*path.split(";"), *query.split("&")) if part]
        values = {name: unquote(value) for name, _, value in pairs}
        problem = ""
        if scheme != "pkcs11" or not colon or len(values) < len(pairs):
            problem = "not a PKCS#11 URI"
        elif {"pin-value", "pin-source"} & values.keys():
            problem = "a PIN does not belong there; give --pin-file"
        elif set(values) != set(_SHORT) or not all(value and value.isprintable() for value in values.values()):
            problem = f"it must name {', '.join(_SHORT)} and nothing else"
        if problem:
            example = "pkcs11:token=agency;object=identity?module-path=/usr/lib/softhsm/libsofthsm2.so"
            raise error(
                Reason.BAD_FIELD, field="PKCS#11 URI", detail=problem, next_step=f"Write it like this: {example}"
            )
        return cls(values["module-path"], values["token"], values["object"])

    @property
    def uri(self) -> str:
        """The PKCS#11 URI."""
        return f"pkcs11:token={quote(self.token)};object={quote(self.label)}?module-path={quote(self.module)}"


@dataclass(frozen=True)
class HeldKey:
    """An Ed25519 key in a token, known by its place and its public half; nothing is opened before it signs."""

    uri: str
    public: bytes
    pin: Pin = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature that the token makes.

        Raises:
            UnavailableError: `UNAVAILABLE` when driver, token or key is not there.
            RefusedError: `NOT_PERMITTED` when the token does not take the PIN.
        """
        place = Place.parse(self.uri)
        with _session(place, self.pin) as session:
            from pkcs11 import KeyType, Mechanism, ObjectClass

            key = session.get_key(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, label=place.label)
            return bytes(key.sign(message, mechanism=Mechanism.EDDSA))


def find_or_make(uri: str, pin: Pin) -> HeldKey:
    """Return the key that a URI names; a new one, which the token never gives away, if there is none of that label.

    Raises:
        MalformedError: `BAD_FIELD` when the URI is none.
        UnavailableError: `UNAVAILABLE` when driver or token is not there, or the token cannot make such keys.
        RefusedError: `NOT_PERMITTED` when the token does not take the PIN.
        UntrustedError: `BAD_CERTIFICATE` when the key found is not acceptable.
    """
    place = Place.parse(uri)
    with _session(place, pin, write=True) as session:
        from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
        from pkcs11.exceptions import NoSuchKey

        try:
            public = session.get_key(ObjectClass.PUBLIC_KEY, KeyType.EC_EDWARDS, label=place.label)
            session.get_key(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, label=place.label)
        except NoSuchKey:
            curve = session.create_domain_parameters(
                KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _EDWARDS25519}, local=True
            )
            public, _ = curve.generate_keypair(
                id=sha256(place.label.encode()).digest()[:8],
                label=place.label,
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                store=True,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
        raw = _point(bytes(public[Attribute.EC_POINT]))
    suites.check_ed25519_key(raw)
    return HeldKey(place.uri, raw, pin)


def _point(encoded: bytes) -> bytes:
    for wrapping in _POINTS:
        if encoded.startswith(wrapping) and len(encoded) == len(wrapping) + 32:
            return encoded[len(wrapping) :]
    raise error(Reason.BAD_CERTIFICATE, field="token", detail="its key is not an Ed25519 key")


@contextlib.contextmanager
def _session(place: Place, pin: Pin, *, write: bool = False) -> Iterator[Any]:
    """Open a token for as long as the block lasts; whatever the driver says becomes one of our errors."""
    token = _token(place)
    import pkcs11

    if pkcs11.TokenFlag.USER_PIN_FINAL_TRY & token.flags:  # a program that tries by itself must not be what locks it
        detail, next_step = (
            "one more wrong PIN would lock it",
            "Log in once with the tool of the token, then try again.",
        )
        raise error(Reason.NOT_PERMITTED, field=f"token {place.token}", detail=detail, next_step=next_step)
    said = pin(place.token)
    try:
        with token.open(rw=write, user_pin=said) as session:
            yield session
    except pkcs11.PKCS11Error as problem:
        raise _of_driver(problem, place) from None


def _token(place: Place) -> pkcs11.Token:
    try:
        import pkcs11
    except ImportError:
        next_step = "Install it: pip install 'infoexchange[hsm]'"
        raise error(
            Reason.UNAVAILABLE, field="identity key", detail="PKCS#11 is not installed", next_step=next_step
        ) from None
    try:
        return pkcs11.lib(place.module).get_token(token_label=place.token)
    except pkcs11.PKCS11Error as problem:
        raise _of_driver(problem, place) from None
    except RuntimeError:
        raise error(
            Reason.UNAVAILABLE,
            field=place.module,
            detail="not a PKCS#11 driver that can be loaded",
            next_step="Correct module-path in the URI, or install the driver of the token.",
        ) from None


def _of_driver(problem: Exception, place: Place) -> ExchangeError:
    """Return the error for what a driver raised, in words of the person who has to act."""
    from pkcs11 import exceptions as e

    if isinstance(problem, e.PinIncorrect | e.PinInvalid | e.PinLenRange | e.PinExpired | e.PinLocked):
        locked = isinstance(problem, e.PinLocked)
        return error(
            Reason.NOT_PERMITTED,
            field=f"token {place.token}",
            detail="the token is locked after wrong PINs" if locked else "the token does not take this PIN",
            next_step="Ask the token's security officer to unlock it."
            if locked
            else "Check it; tokens lock themselves.",
        )
    if isinstance(problem, e.NoSuchKey | e.MultipleObjectsReturned):
        count = "no" if isinstance(problem, e.NoSuchKey) else "more than one"
        detail = f"{count} Ed25519 key of the label {place.label}"
        next_step = "Check the label in the URI; a lost identity key is replaced with new keys and certificates."
    else:
        detail = f"the token cannot be used ({type(problem).__name__})"
        next_step = "Put the token in, check its label and its driver, then run it again."
    return error(Reason.UNAVAILABLE, field=f"token {place.token}", detail=detail, next_step=next_step)
