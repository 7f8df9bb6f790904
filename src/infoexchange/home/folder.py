"""Folder: the files of an agency, each read with care and replaced whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from infoexchange import certificates, hsm
from infoexchange.bundle import KeyBundle
from infoexchange.catalogue import codes
from infoexchange.directory import Directory
from infoexchange.home import held
from infoexchange.home.files import in_file, missing, read_file, remove_leftovers, write_file
from infoexchange.home.keychain import Keychain
from infoexchange.keys import Identity
from infoexchange.listing import Roots

IDENTITY = "identity.key"
TLS_KEY = "tls.key"
REQUEST = "request.pem"
CERTIFICATES = "certificates.pem"
CRL = "crl.der"
CODES = "codes"  # folder of code lists, CSV
SPOOL = "spool.sqlite3"
ARCHIVE = "archive.sqlite3"


class Folder:
    """An agency's folder and the keychain that opens its secret files; knows names and order, and no rules."""

    def __init__(self, path: Path | str, keychain: Keychain | None = None) -> None:
        """Hold the path; without a keychain, sealed files are opened with a systemd credential or not at all."""
        self.path = Path(path)
        self.keychain = keychain or Keychain()

    @classmethod
    def of(cls, where: Path | str | Folder) -> Folder:
        """Return the folder at a path, or the one given."""
        return where if isinstance(where, Folder) else cls(where)

    @property
    def keygen(self) -> str:
        """What to do where the folder or its keys are missing."""
        return f"Run: infoexchange keygen NAME --home {self.path}"

    @property
    def enroll(self) -> str:
        """What to do where something is missing that enrolment puts in."""
        return f"Run: infoexchange enroll --home {self.path} --certificates FILE --directory FILE --roots FILE"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the folder."""
        if not self.path.is_dir():
            raise missing(self.path, self.keygen)
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for name in (IDENTITY, TLS_KEY):  # secrets that a killed process left under another name
                remove_leftovers(self.path / name)
            yield
        finally:
            os.close(descriptor)

    # Keys

    def identity(self) -> Identity:
        """Return the private half of the agency; a token that holds a part of it is opened when it is to sign."""
        raw = self.keychain.read(self.path / IDENTITY, next_step=self.keygen)
        with in_file(self.path / IDENTITY):
            return Identity.parse(raw, token=lambda uri, public: hsm.HeldKey(uri, public, self.keychain.pin))

    def write_identity(self, identity: Identity) -> None:
        """Put an identity in the place of the one there, sealed as that was; what it left out is gone from the file."""
        self.keychain.write(self.path / IDENTITY, identity.raw)

    def tls_key(self) -> bytes:
        """Return the TLS key as PEM."""
        return self.keychain.read(self.path / TLS_KEY, next_step=self.keygen)

    # Certificates and bundles

    def leaves(self) -> list[bytes]:
        """Return the three certificates as DER, in the order of the requests."""
        with in_file(self.path / CERTIFICATES):
            return certificates.from_pem(read_file(self.path / CERTIFICATES, next_step=self.enroll))

    def write_leaves(self, leaves: Sequence[bytes]) -> None:
        """Put certificates in the place of those there."""
        write_file(self.path / CERTIFICATES, b"".join(map(certificates.to_pem, leaves)))

    def crls(self) -> tuple[bytes, ...]:
        """Return the revocation list, if there is one."""
        file = self.path / CRL
        return (read_file(file, next_step=self.enroll),) if file.exists() else ()

    def bundles(self) -> tuple[KeyBundle, ...]:
        """Return the own bundles, newest first, with the certificates and lists that prove them as far as they fit."""
        raws = []
        for file in self.path.glob("bundle-*.pb"):
            with in_file(file):
                raws.append((file, KeyBundle.parse(read_file(file, next_step=self.enroll))))
        raws.sort(key=lambda found: found[1].epoch, reverse=True)
        if not raws:
            return ()
        leaves, crls = {sha256(der).digest(): der for der in self.leaves()}, self.crls()
        return tuple(KeyBundle.parse(bundle.raw, bundle.named(leaves), crls) for _, bundle in raws)

    def write_bundle(self, bundle: KeyBundle) -> None:
        """Keep a bundle beside the others."""
        write_file(self.path / f"bundle-{bundle.epoch}.pb", bundle.raw)

    def remove_bundle(self, bundle: KeyBundle) -> None:
        """Remove a bundle whose keys are destroyed, or that was never published."""
        (self.path / f"bundle-{bundle.epoch}.pb").unlink(missing_ok=True)

    # Code lists

    def add_code_lists(self) -> None:
        """Make the code lists in the folder `codes` known: an authority's own, newer versions, more values.

        Raises:
            MalformedError: `MALFORMED`, naming file and line.
        """
        for file in sorted((self.path / CODES).glob("*.csv")):
            raw = read_file(file, next_step="Check the path.")
            with in_file(file):
                codes.add(raw.decode("utf-8", "replace").splitlines())

    # The directory

    def directory(self) -> Directory:
        """Return the directory, signed by the roots beside it."""
        return held.read(self.path, next_step=self.enroll)

    def put_directory(self, directory: Directory, roots: Roots, before: Directory | None) -> None:
        """Put a directory and the roots that sign it in the place of the one before.

        Raises:
            UntrustedError: `DIRECTORY_ROLLBACK` when it is older than the one before, `LOG_FORK` when it is another
                of the same number.
        """
        if before:
            held.check_not_older(directory, before)
        held.put(self.path, directory, roots, before)
