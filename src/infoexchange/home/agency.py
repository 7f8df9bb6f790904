"""Agency: what an agency's folder holds, made, enrolled, opened and checked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from infoexchange import certificates
from infoexchange.archive import SqliteArchive
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home import held
from infoexchange.home.enrolment import checked_leaves
from infoexchange.home.epochs import Epochs
from infoexchange.home.files import exclusive, missing, write_file
from infoexchange.home.folder import ARCHIVE, CRL, IDENTITY, REQUEST, SPOOL, TLS_KEY, Folder
from infoexchange.keys import Identity, TokenKey
from infoexchange.listing import Roots
from infoexchange.spool import SqliteSpool
from infoexchange.suites import OFFERED, Suite


@dataclass(frozen=True)
class Tls:
    """What a TLS connection to the own relay needs, all as PEM: the own certificate and key, and the relay's CAs."""

    chain: bytes
    key: bytes = field(repr=False)
    roots: bytes


class Home(Epochs):
    """An agency's folder, read and checked; what changes it is locked against other processes."""

    @staticmethod
    def create(
        where: Path | str | Folder, name: str, *, suites: Sequence[Suite] = OFFERED, token: TokenKey | None = None
    ) -> Path:
        """Make keys that offer these suites and the certificate requests for them; return the path of the requests.

        An identity is never overwritten. After a crash or a full disk the same call finishes what was begun.

        Args:
            where: The new folder, with the keychain that is to seal its keys, if they are to be sealed.
            name: The agency's name.
            suites: In which others may seal to it.
            token: The Ed25519 half of the identity key, if a hardware token holds it.

        Raises:
            MalformedError: `BAD_FIELD` when the name is not a dNSName.
            RefusedError: `NOT_PERMITTED` when the folder belongs to an identity already.
            UnavailableError: The token cannot be used.
        """
        folder = Folder.of(where)
        path, fresh = folder.path, Identity.make(name, suites=suites, token=token)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with folder.locked():
            if not (path / IDENTITY).exists():
                folder.keychain.write_new(path / IDENTITY, fresh.raw)
            identity = folder.identity()
            if identity.name != name or (path / REQUEST).exists():
                raise error(
                    Reason.NOT_PERMITTED,
                    field=str(path / IDENTITY),
                    detail=f"the identity of {identity.name} is there already",
                    next_step="Name another folder; an identity is never overwritten.",
                )
            if not (path / TLS_KEY).exists():
                folder.keychain.write_new(path / TLS_KEY, certificates.tls_key())
            folder.tls_key()
            for key in (IDENTITY, TLS_KEY):
                folder.keychain.seal_too(path / key)
            requests = (
                *certificates.identity_requests(name, identity.key),
                certificates.tls_request(name, folder.tls_key()),
            )
            # Written last: where it stands, everything before it is whole.
            write_file(path / REQUEST, b"".join(requests))
        return path / REQUEST

    @classmethod
    def enroll(
        cls,
        where: Path | str | Folder,
        certificates_pem: bytes,
        directory_raw: bytes,
        roots_raw: bytes,
        *,
        crl: bytes = b"",
        now: datetime,
    ) -> Home:
        """Return the home once it holds certificates, directory and trust anchor, and a bundle issued from them.

        Everything is checked before anything is written. Repeating the call is safe; new certificates, a newer
        directory or a newer revocation list are put in by calling it again.

        Args:
            where: Folder made by `create`.
            certificates_pem: Three certificates in the order of the requests: Ed25519, ML-DSA-65, TLS.
            directory_raw: The newest directory.
            roots_raw: Trust anchor: the root keys that sign the directory.
            crl: Revocation list of the national CA, DER.
            now: First moment of use.

        Raises:
            ExchangeError: Of the reason for which a file is refused; then nothing was changed.
        """
        folder = Folder.of(where)
        roots = Roots.parse(roots_raw)
        directory = Directory.parse(directory_raw, roots=roots)
        directory.check_current(now)
        with folder.locked():
            identity = folder.identity()
            leaves = checked_leaves(folder, certificates_pem, directory, identity, crl, now)
            folder.put_directory(directory, roots, held.read_if_whole(folder.path))
            if crl:
                write_file(folder.path / CRL, crl)
            folder.write_leaves(leaves)
            home = cls(folder, identity, directory, folder.bundles())
            if not home.bundles or not _stands(home.bundle, directory, now):
                home._issue(now)
        return home

    @classmethod
    def open(cls, where: Path | str | Folder) -> Home:
        """Return the home in a folder, once everything in it has been read and checked.

        Whether directory and bundle are current is asked by the caller, with `directory.check_current` and `rotate`.

        Args:
            where: The folder; given as a path, sealed keys need a systemd credential.

        Raises:
            UnavailableError: `UNAVAILABLE`, naming a file that is missing and the command that makes it.
            RefusedError: `NOT_PERMITTED` when others could read a key file, or a passphrase is needed and not given.
            MalformedError: A file is damaged.
            UntrustedError: `BAD_SIGNATURE` when the directory is not signed by the roots; `BAD_CIPHERTEXT` when a key
                file has another passphrase.
        """
        folder = Folder.of(where)
        identity = folder.identity()
        folder.tls_key()
        folder.add_code_lists()
        directory = folder.directory()
        bundles = folder.bundles()
        if not bundles:
            raise missing(folder.path / "bundle-1.pb", folder.enroll)
        if any(bundle.owner != identity.name for bundle in bundles):
            raise error(
                Reason.BAD_FIELD, field=str(folder.path), detail="a bundle is another party's", next_step=folder.enroll
            )
        return cls(folder, identity, directory, bundles)

    @property
    def tls(self) -> Tls:
        """Certificate, key and the CAs of the relay's nation, for the connection to the own relay."""
        party = next(p for p in self.directory.listing.parties if p.name == self.name)
        nation = self.directory.nation(self.directory.relay_of(party).nation)
        return Tls(
            chain=certificates.to_pem(self.folder.leaves()[-1]),
            key=self.folder.tls_key(),
            roots=b"".join(certificates.to_pem(ca) for ca in nation.tls_cas),
        )

    def in_use(self) -> AbstractContextManager[None]:
        """Keep other programs from sending and receiving with this folder at the same time.

        Two at once would use one sequence number for two messages and hand the same message over twice.

        Raises:
            UnavailableError: Another program uses the folder.
        """
        return exclusive(self.path)

    def spool(self) -> SqliteSpool:
        """Open the outbox and inbox of this folder; the caller closes it."""
        return SqliteSpool(self.path / SPOOL)

    def archive(self) -> SqliteArchive:
        """Open the archive of this folder; the caller closes it."""
        return SqliteArchive(self.path / ARCHIVE)

    def save_directory(self, directory: Directory) -> None:
        """Keep a newer, verified directory for the next start; the one held already changes nothing.

        Raises:
            UntrustedError: `DIRECTORY_ROLLBACK` when it is older than the one held.
        """
        with self.folder.locked():
            self.folder.put_directory(directory, directory.listing.roots, self.folder.directory())
        self.directory = directory

    def save_fork(self, raw: bytes) -> None:
        """Keep a directory version of a second history, as evidence."""
        held.put_fork(self.path, raw)

    def reminders(self, *, now: datetime) -> list[str]:
        """Return what a person should do soon, one line each; nothing where all is well."""
        from infoexchange.home.reminders import reminders  # it reads certificates, which most calls need not

        return reminders(self, self.unrotated, now=now)


def _stands(bundle: KeyBundle, directory: Directory, now: datetime) -> bool:
    """Whether others would accept a bundle with the certificates that are there now."""
    try:
        bundle.prove(directory, now=now)
    except ExchangeError:
        return False
    return now <= bundle.not_after
