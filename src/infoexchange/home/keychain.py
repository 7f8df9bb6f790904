"""Keychain: how secret files are opened and written (SPEC section Key files).

In the clear and readable by their owner alone, sealed under a passphrase, or handed over by systemd in the folder that
`CREDENTIALS_DIRECTORY` names. A passphrase comes from a credential, from a file or from a person, and is asked for
once; never from the command line or the environment, where other programs could read it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.home.files import in_file, read_credential, read_key, write_file, write_new
from infoexchange.keys.sealed import Seal, SealedFile

Ask = Callable[[str], str]  # gives what opens a thing: the passphrase of a file, the PIN of a token

# Names of systemd credentials; a key file is handed over under its own name.
PASSPHRASE = "infoexchange-passphrase"  # noqa: S105  the name of a place, no passphrase
PIN = "infoexchange-pin"


class Keychain:
    """Opens secret files and remembers how each was sealed, so that it is written back in the same way."""

    def __init__(
        self,
        ask: Ask | None = None,
        *,
        ask_pin: Ask | None = None,
        seal: Seal | None = None,
        credentials: Path | None = None,
    ) -> None:
        """Hold the sources.

        Args:
            ask: Gives the passphrase of a file when no credential does; without it, such a file is refused.
            ask_pin: The same for the PIN of a token.
            seal: Seals files that are new; without it they are written in the clear.
            credentials: Folder of systemd credentials, if not the one that the environment names.
        """
        self._ask = ask
        self._ask_pin = ask_pin
        self._new = seal
        named = os.environ.get("CREDENTIALS_DIRECTORY")
        self._credentials = credentials or (Path(named) if named else None)
        self._seals: dict[Path, Seal | None] = {}
        self._known: list[Seal] = [seal] if seal else []
        self._said: list[str] = []

    def read(self, path: Path, *, next_step: str) -> bytes:
        """Return what is in a secret file, in the clear; arguments and errors as `files.read_key`.

        Raises:
            RefusedError: `NOT_PERMITTED` also when it is sealed and nobody gives the passphrase.
            UntrustedError: `BAD_CIPHERTEXT` when the passphrase is another one.
        """
        raw = self._raw(path, next_step)
        if not SealedFile.is_one(raw):
            self._seals[path] = None
            return raw
        with in_file(path):
            return self._opened(path, SealedFile.parse(raw))

    def _raw(self, path: Path, next_step: str) -> bytes:
        handed_over = self._handed_over(path.name)
        if handed_over is not None and not path.exists():
            return handed_over
        return read_key(path, next_step=next_step)

    def _handed_over(self, name: str) -> bytes | None:
        file = self._credentials / name if self._credentials else None
        return read_credential(file) if file and file.exists() else None

    def _opened(self, path: Path, file: SealedFile) -> bytes:
        for seal in self._known:
            with contextlib.suppress(UntrustedError):
                return self._keep(path, seal, file)
        for passphrase in self._passphrases():
            with contextlib.suppress(UntrustedError):
                return self._keep(path, file.seal_of(passphrase), file)
        if self._ask is None:
            raise error(
                Reason.NOT_PERMITTED,
                field=str(path),
                detail="sealed with a passphrase, and none was given",
                next_step="Run it at a terminal, name a --passphrase-file, or hand it over as a systemd credential.",
            )
        passphrase = self._ask(str(path))
        raw = self._keep(path, file.seal_of(passphrase), file)
        self._said.append(passphrase)
        return raw

    def _passphrases(self) -> Iterable[str]:
        handed_over = self._handed_over(PASSPHRASE)
        if handed_over is not None:
            yield text_of(handed_over, PASSPHRASE)
        yield from self._said

    def _keep(self, path: Path, seal: Seal, file: SealedFile) -> bytes:
        raw = file.open_with(seal)
        self._seals[path] = seal
        if seal not in self._known:
            self._known.append(seal)
        return raw

    def write(self, path: Path, raw: bytes) -> None:
        """Put `raw` in the place of a secret file, sealed as it was, whole or not at all.

        Raises:
            RefusedError: `NOT_PERMITTED` when systemd handed the file over: it has no place to be written to.
        """
        if not path.exists() and self._handed_over(path.name) is not None:
            raise error(
                Reason.NOT_PERMITTED,
                field=path.name,
                detail="handed over by systemd, so it cannot be rewritten",
                next_step="Keep the file sealed in its folder, and hand over its passphrase instead.",
            )
        seal = self._seals.get(path, self._new)
        write_file(path, seal.seal(raw) if seal else raw, mode=0o600)

    def write_new(self, path: Path, raw: bytes) -> None:
        """Make a secret file, whole or not at all, sealed if this keychain seals new files; errors as `files`."""
        write_new(path, self.to_write(raw))
        self._seals[path] = self._new

    def to_write(self, raw: bytes) -> bytes:
        """Return the bytes of a new secret file."""
        return self._new.seal(raw) if self._new else raw

    def reseal(self, path: Path, seal: Seal | None) -> None:
        """Write a secret file under another passphrase, or in the clear; errors as `read` and `write`."""
        raw = self.read(path, next_step="Check the path.")
        self._seals[path] = seal
        if seal and seal not in self._known:
            self._known.append(seal)
        self.write(path, raw)

    def seal_too(self, path: Path) -> None:
        """Seal a file that an earlier, unfinished call had written in the clear, if this keychain seals new files."""
        if self._new and self._seals.get(path) is None:
            self.reseal(path, self._new)

    def pin(self, token: str) -> str:
        """Return the PIN of a token.

        Raises:
            RefusedError: `NOT_PERMITTED` when nobody gives it.
        """
        handed_over = self._handed_over(PIN)
        if handed_over is not None:
            return text_of(handed_over, PIN)
        if self._ask_pin is None:
            raise error(
                Reason.NOT_PERMITTED,
                field=f"token {token}",
                detail="it wants a PIN, and none was given",
                next_step="Run it at a terminal, name a --pin-file, or hand it over as a systemd credential.",
            )
        return self._ask_pin(token)


def text_of(raw: bytes, name: str) -> str:
    """Return the one line of a file that holds a passphrase or a PIN, or raise `BAD_FIELD`."""
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or "\n" in text:
        raise error(
            Reason.BAD_FIELD, field=name, detail="not one line of text", next_step="Write it as one line in UTF-8."
        )
    return text
