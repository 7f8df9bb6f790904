"""Kinds: what values a setting takes, how they are read from file or environment, and how they are described."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from infoexchange import wire
from infoexchange.errors import ExchangeError

LOG_LEVELS = ("debug", "info", "warning", "error")
_PORT_MAX = 65535
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Kind(Protocol):
    """What values a setting takes."""

    @property
    def range(self) -> str:
        """Those values in a few words, for the operator's page."""

    def read(self, value: object, folder: Path) -> object:
        """Return the value of a setting, or raise `ValueError` that says what is wrong with it.

        Args:
            value: As TOML gives it, or the text of an environment variable.
            folder: Where the file with the settings lies; paths are relative to it.
        """


@dataclass(frozen=True)
class Name:
    """The name of a party."""

    range: str = "a dNSName"

    def read(self, value: object, folder: Path) -> str:
        """Return the name."""
        text = _text(value)
        try:
            wire.check_name(text, field="")
        except ExchangeError as problem:
            raise ValueError(problem.detail) from None
        return text


@dataclass(frozen=True)
class Names:
    """The names of some parties."""

    range: str = 'names such as `["relay.xx.example"]`'

    def read(self, value: object, folder: Path) -> tuple[str, ...]:
        """Return the names; the environment has texts only, with spaces between them."""
        names = value.split() if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError('is no list of names, such as ["relay.xx.example"]')
        if len(set(names)) < len(names):
            raise ValueError("one name stands twice")
        return tuple(Name().read(name, folder) for name in names)


@dataclass(frozen=True)
class File:
    """The path of a file or folder. An optional one is a text, empty for none."""

    optional: bool = False

    @property
    def range(self) -> str:
        """In words."""
        return "a path, or empty" if self.optional else "a path"

    def read(self, value: object, folder: Path) -> Path | str:
        """Return the path, relative to the folder."""
        text = _text(value)
        if self.optional:
            return str(folder / text) if text else ""
        if not text:
            raise ValueError("is empty")
        return folder / text


@dataclass(frozen=True)
class Address:
    """`host:port`. An optional one may be empty; one on loopback is for what has no protection of its own."""

    optional: bool = False
    loopback: bool = False

    @property
    def range(self) -> str:
        """In words."""
        return "`host:port`" + (" on loopback" if self.loopback else "") + (", or empty" if self.optional else "")

    def read(self, value: object, folder: Path) -> str:
        """Return the address."""
        text = _text(value)
        if text or not self.optional:
            host, _ = parse_address(text)
            if self.loopback and not _is_loopback(host):
                raise ValueError(
                    f"{host!r} is not a loopback address; what is shown there has no protection of its own"
                )
        return text


@dataclass(frozen=True)
class Url:
    """An http or https address, or empty; never with a password."""

    range: str = "an http or https URL, or empty"

    def read(self, value: object, folder: Path) -> str:
        """Return the URL."""
        text = _text(value)
        if text:
            _check_url(text)
        return text


@dataclass(frozen=True)
class Database:
    """The address of a PostgreSQL database, or empty; its password stands elsewhere."""

    range: str = "`postgresql://user@host/database`, or empty"

    def read(self, value: object, folder: Path) -> str:
        """Return the address."""
        text = _text(value)
        if text:
            parts = urlsplit(text)
            if parts.scheme != "postgresql":
                raise ValueError(f"{text!r} is no address such as postgresql://relay@db.example/relay")
            if parts.password is not None:
                raise ValueError("a password does not belong into settings; put it into the file that PGPASSFILE names")
        return text


@dataclass(frozen=True)
class Number:
    """A whole number of a range."""

    least: int
    most: int
    unit: str

    @property
    def range(self) -> str:
        """In words."""
        return f"{self.least} to {self.most} {self.unit}"

    def read(self, value: object, folder: Path) -> int:
        """Return the number; the environment has texts only."""
        text = str(value)
        if isinstance(value, bool) or not text.isascii() or not text.isdigit():
            raise ValueError(f"{value!r} is not a whole number; it takes {self.range}")
        if not self.least <= int(text) <= self.most:
            raise ValueError(f"{text} is not {self.range}")
        return int(text)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    range: str = "`true` or `false`"

    def read(self, value: object, folder: Path) -> bool:
        """Return whether it is yes; the environment has texts only."""
        word = str(value).lower()
        if word not in _YES + _NO:
            raise ValueError(f"{value!r} is neither true nor false")
        return word in _YES


@dataclass(frozen=True)
class Word:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def range(self) -> str:
        """In words."""
        return ", ".join(f"`{word}`" for word in self.words)

    def read(self, value: object, folder: Path) -> str:
        """Return the word."""
        text = _text(value)
        if text not in self.words:
            raise ValueError(f"{text!r} is none of {', '.join(self.words)}")
        return text


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`, or raise `ValueError` that says why not."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:7443 or [::1]:7443")
    return host, int(port)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text; put it in quotes")
    return value


def _check_url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is not a URL, such as http://timestamp.example/tsr")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password does not belong into settings; ask for an authority that knows this address")
    if " " in text or parts.port == 0:  # a port that is no number raises by itself
        raise ValueError(f"{text!r} is not a URL")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
