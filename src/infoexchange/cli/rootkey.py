"""Root key: the file of a key that signs the directory, and the public part that the others are given."""

from __future__ import annotations

import base64
import json
from typing import Any

from infoexchange import suites
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.keys import SigningKey
from infoexchange.listing import RootKey

_SECRET_FORM = "infoexchange root key 1"  # noqa: S105  the name of a file format
_PUBLIC_FORM = "infoexchange root public key 1"


def write_secret(key: SigningKey, holder: str) -> bytes:
    """Return the bytes of the key file. Secret: write it for its owner's eyes only."""
    return _write(_SECRET_FORM, holder, key, "secret", key.secret)


def write_public(key: SigningKey, holder: str) -> bytes:
    """Return the bytes of the public part."""
    return _write(_PUBLIC_FORM, holder, key, "public", key.public)


def parse_secret(raw: bytes, *, field: str) -> SigningKey:
    """Return the key of a key file, or raise `MALFORMED` without repeating a byte of it."""
    value, secret = _parse(raw, _SECRET_FORM, "secret", field)
    suite = suites.suite_of(value["suite"])
    if len(secret) != suite.signing_secret_size:
        raise _malformed(_SECRET_FORM, field)
    return SigningKey(suite, secret)


def parse_public(raw: bytes, *, field: str) -> RootKey:
    """Return the root key of a public part, or raise `MALFORMED` or `BAD_CERTIFICATE`."""
    value, public = _parse(raw, _PUBLIC_FORM, "public", field)
    suites.suite_of(value["suite"]).check_signing_key(public)
    return RootKey(public, value["holder"], value["suite"])


def _write(form: str, holder: str, key: SigningKey, half: str, raw: bytes) -> bytes:
    text = base64.b64encode(raw).decode()
    value = {"form": form, "holder": holder, "suite": key.suite.number, half: text}
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _parse(raw: bytes, form: str, half: str, field: str) -> tuple[dict[str, Any], bytes]:
    try:
        value = json.loads(raw)
        if value["form"] != form or type(value["suite"]) is not int or type(value["holder"]) is not str:
            raise ValueError
        return value, base64.b64decode(value[half], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _malformed(form, field) from None


def _malformed(form: str, field: str) -> ExchangeError:
    kind = "the file of a root key" if form == _SECRET_FORM else "the public part of a root key"
    made = "with --out FILE" if form == _SECRET_FORM else "as FILE.pub"
    return error(
        Reason.MALFORMED,
        field=field,
        detail=f"not {kind}",
        next_step=f"Name the file that `infoexchange keygen root` wrote {made}.",
    )
