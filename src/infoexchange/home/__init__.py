"""Home: an agency's folder: its keys, certificates, bundles, directory and spool.

Everything an agency must not lose stands in one folder that a backup can take whole. Each file is replaced whole or not
at all, so that a crash or a full disk leaves the old state; key files that others could read are refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from infoexchange import certificates
from infoexchange.archive import SqliteArchive
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import LIFETIME_MAX
from infoexchange.home import held
from infoexchange.home.files import (
    check_tls_pair,
    exclusive,
    in_file,
    missing,
    read_file,
    read_key,
    write_file,
    write_new,
)
from infoexchange.keys import EpochKeys, Identity
from infoexchange.listing import Role, Roots
from infoexchange.spool import SqliteSpool
from infoexchange.suites import OFFERED, Suite

# Implementation constants
ROTATE_BEFORE = timedelta(days=10)  # a relay or an agency may be out for a week and still learn the new bundle in time
_SIGNED_WITH = ("Ed25519", "ML-DSA-65")  # identity keys, in this order
_KINDS = (*_SIGNED_WITH, "ECDSA-P256")  # requests and certificates stand in this order; the last is for TLS

IDENTITY = "identity.key"
TLS_KEY = "tls.key"
REQUEST = "request.pem"
CERTIFICATES = "certificates.pem"
CRL = "crl.der"
SPOOL = "spool.sqlite3"
ARCHIVE = "archive.sqlite3"


@dataclass(frozen=True)
class Tls:
    """What a TLS connection to the own relay needs, all as PEM: the own certificate and key, and the relay's CAs."""

    chain: bytes
    key: bytes = field(repr=False)
    roots: bytes


class Home:
    """An agency's folder, read and checked; what changes it is locked against other processes."""

    def __init__(self, path: Path, identity: Identity, directory: Directory, bundles: Sequence[KeyBundle]) -> None:
        """Hold what was read; use `open` or `enroll` to get one."""
        self.path = path
        self.identity = identity
        self.directory = directory
        self.bundles = tuple(bundles)

    @staticmethod
    def create(path: Path | str, name: str, *, suites: Sequence[Suite] = OFFERED) -> Path:
        """Make keys that offer these suites and the certificate requests for them; return the path of the requests.

        An identity is never overwritten. After a crash or a full disk the same call finishes what was begun.

        Raises:
            MalformedError: `BAD_FIELD` when the name is not a dNSName.
            RefusedError: `NOT_PERMITTED` when the folder belongs to an identity already.
        """
        path = Path(path)
        fresh = Identity.make(name, suites=suites)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            if not (path / IDENTITY).exists():
                write_new(path / IDENTITY, fresh.raw)
            identity = _identity(path)
            if identity.name != name or (path / REQUEST).exists():
                raise error(
                    Reason.NOT_PERMITTED,
                    field=str(path / IDENTITY),
                    detail=f"the identity of {identity.name} is there already",
                    next_step="Name another folder; an identity is never overwritten.",
                )
            if not (path / TLS_KEY).exists():
                write_new(path / TLS_KEY, certificates.tls_key())
            tls = certificates.tls_request(name, read_key(path / TLS_KEY, next_step=_keygen(path)))
            # Written last: where it stands, everything before it is whole.
            identity_requests = certificates.identity_requests(name, identity.key.ed25519, identity.key.mldsa65)
            write_file(path / REQUEST, b"".join((*identity_requests, tls)))
        return path / REQUEST

    @classmethod
    def enroll(
        cls,
        path: Path | str,
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
            path: Folder made by `create`.
            certificates_pem: Three certificates in the order of the requests: Ed25519, ML-DSA-65, TLS.
            directory_raw: The newest directory.
            roots_raw: Trust anchor: the root keys that sign the directory.
            crl: Revocation list of the national CA, DER.
            now: First moment of use.

        Raises:
            ExchangeError: Of the reason for which a file is refused; then nothing was changed.
        """
        path = Path(path)
        roots = Roots.parse(roots_raw)
        directory = Directory.parse(directory_raw, roots=roots)
        directory.check_current(now)
        with _locked(path):
            identity = _identity(path)
            leaves = _checked_leaves(path, certificates_pem, directory, identity, crl, now)
            before = held.read_if_whole(path)
            if before:
                held.check_not_older(directory, before)
            held.put(path, directory, roots, before)
            if crl:
                write_file(path / CRL, crl)
            write_file(path / CERTIFICATES, b"".join(map(certificates.to_pem, leaves)))
            home = cls(path, identity, directory, _bundles(path))
            if not home.bundles or not _stands(home.bundle, directory, now):
                home._issue(now)
        return home

    @classmethod
    def open(cls, path: Path | str) -> Home:
        """Return the home in a folder, once everything in it has been read and checked.

        Whether directory and bundle are current is asked by the caller, with `directory.check_current` and `rotate`.

        Raises:
            UnavailableError: `UNAVAILABLE`, naming a file that is missing and the command that makes it.
            RefusedError: `NOT_PERMITTED` when others could read a key file.
            MalformedError: A file is damaged.
            UntrustedError: `BAD_SIGNATURE` when the directory is not signed by the roots.
        """
        path = Path(path)
        identity = _identity(path)
        read_key(path / TLS_KEY, next_step=_keygen(path))
        directory = held.read(path, next_step=_enroll(path))
        bundles = _bundles(path)
        if not bundles:
            raise missing(path / "bundle-1.pb", _enroll(path))
        if any(bundle.owner != identity.name for bundle in bundles):
            raise error(
                Reason.BAD_FIELD, field=str(path), detail="a bundle is another party's", next_step=_enroll(path)
            )
        return cls(path, identity, directory, bundles)

    @property
    def name(self) -> str:
        """The agency's name."""
        return self.identity.name

    @property
    def bundle(self) -> KeyBundle:
        """The newest own bundle, which is published and signed with; `bundles` also has those still to be opened."""
        return self.bundles[0]

    @property
    def tls(self) -> Tls:
        """Certificate, key and the CAs of the relay's nation, for the connection to the own relay."""
        party = next(p for p in self.directory.listing.parties if p.name == self.name)
        nation = self.directory.nation(self.directory.relay_of(party).nation)
        return Tls(
            chain=certificates.to_pem(_leaves(self.path)[-1]),
            key=read_key(self.path / TLS_KEY, next_step=_keygen(self.path)),
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
        with _locked(self.path):
            before = held.read(self.path, next_step=_enroll(self.path))
            held.check_not_older(directory, before)
            held.put(self.path, directory, directory.listing.roots, before)
        self.directory = directory

    def save_fork(self, raw: bytes) -> None:
        """Keep a directory version of a second history, as evidence."""
        held.put_fork(self.path, raw)

    def rotate(self, *, now: datetime, suites: Sequence[Suite] = ()) -> bool:
        """Issue the bundle of a new epoch if the newest one ends within ten days; return whether that was done.

        The caller publishes `bundle` afterwards. Keys of older epochs are kept until the last message sealed to them
        has expired, and destroyed then. The new epoch offers `suites`; without them, what the one before offered.
        """
        # Under an expired directory nothing could be sent, and a clock that is far ahead must not destroy keys.
        if now < self.bundle.not_after - ROTATE_BEFORE or now >= self.directory.listing.expires_at:
            return False
        with _locked(self.path):
            # Another process may have done it since this one read the folder.
            self.identity, self.bundles = _identity(self.path), _bundles(self.path)
            due = now >= self.bundle.not_after - ROTATE_BEFORE
            if due:
                self._issue(now, suites)
        return due

    def _issue(self, now: datetime, suites: Sequence[Suite] = ()) -> None:
        """Issue the next bundle. The lock is held."""
        older = self.bundles
        epoch = older[0].epoch + 1 if older else 1
        opened = [bundle for bundle in older if now <= bundle.not_after + LIFETIME_MAX + certificates.CLOCK_SKEW]
        # The keys become durable before the bundle that promises them. A crash in between leaves keys without a
        # bundle; the next call makes the bundle of those keys.
        if self.identity.epochs[0].epoch < epoch:
            kept = {bundle.epoch for bundle in opened}
            before = [keys for keys in self.identity.epochs if keys.epoch in kept]
            offered, closing = suites or self.identity.epochs[0].offered, [s for keys in before for s in keys.offered]
            newest = EpochKeys.make(epoch, suites=offered, closing=closing)
            self.identity = replace(self.identity, epochs=(newest, *before))
            write_file(self.path / IDENTITY, self.identity.raw, mode=0o600)
        leaves, crls = _leaves(self.path), _crls(self.path)
        bundle = KeyBundle.issue(self.identity, leaves[:2], crls, now=now, previous=older[0] if older else None)
        write_file(self.path / f"bundle-{epoch}.pb", bundle.raw)
        for ended in older:
            if ended not in opened:
                (self.path / f"bundle-{ended.epoch}.pb").unlink(missing_ok=True)
        self.bundles = (bundle, *opened)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the folder."""
    if not path.is_dir():
        raise missing(path, _keygen(path))
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _keygen(path: Path) -> str:
    return f"Run: infoexchange keygen NAME --home {path}"


def _enroll(path: Path) -> str:
    return f"Run: infoexchange enroll --home {path} --certificates FILE --directory FILE --roots FILE"


def _identity(path: Path) -> Identity:
    raw = read_key(path / IDENTITY, next_step=_keygen(path))
    with in_file(path / IDENTITY):
        return Identity.parse(raw)


def _leaves(path: Path) -> list[bytes]:
    with in_file(path / CERTIFICATES):
        return certificates.from_pem(read_file(path / CERTIFICATES, next_step=_enroll(path)))


def _crls(path: Path) -> tuple[bytes, ...]:
    file = path / CRL
    return (read_file(file, next_step=_enroll(path)),) if file.exists() else ()


def _bundles(path: Path) -> tuple[KeyBundle, ...]:
    """Return the own bundles, newest first; only the newest is published and needs its certificates."""
    bundles = []
    for file in path.glob("bundle-*.pb"):
        with in_file(file):
            bundles.append(KeyBundle.parse(read_file(file, next_step=_enroll(path))))
    bundles.sort(key=lambda bundle: bundle.epoch, reverse=True)
    if bundles:
        bundles[0] = KeyBundle.parse(bundles[0].raw, _leaves(path)[:2], _crls(path))
    return tuple(bundles)


def _stands(bundle: KeyBundle, directory: Directory, now: datetime) -> bool:
    """Whether others would accept a bundle with the certificates that are there now."""
    try:
        bundle.verify(directory, now=now)
    except ExchangeError:
        return False
    return True


def _checked_leaves(
    path: Path, pem: bytes, directory: Directory, identity: Identity, crl: bytes, now: datetime
) -> list[bytes]:
    """Return the three certificates as DER, once they are known to be this identity's and to hold at `now`."""
    party = directory.party(identity.name, at=now)
    if party.role is not Role.AGENCY:
        raise error(Reason.BAD_FIELD, field="directory", detail=f"{identity.name} is a relay there, not an agency")
    nation = directory.nation(party.nation)
    ders = certificates.from_pem(pem)
    if len(ders) != len(_KINDS):
        raise _refused(f"{len(ders)} certificates instead of {', '.join(_KINDS)}")
    issuers = (nation.identity_cas, nation.identity_cas, nation.tls_cas)
    for der, cas, kind in zip(ders, issuers, _KINDS, strict=True):
        # Asked first, because the reason is then plain: the chain of another party's certificate fails as well.
        name = certificates.name_of(certificates.load(der))
        if name != identity.name:
            raise _refused(f"a certificate for {name}, not for {identity.name}")
        leaf = certificates.verify_leaf(der, cas, now)
        if leaf.algorithm != kind:
            raise _refused(f"{leaf.algorithm} stands where {kind} is expected; the order is {', '.join(_KINDS)}")
        if kind in _SIGNED_WITH and leaf.public not in identity.key.publics:
            raise _refused(f"the {kind} certificate is for another key than that of this folder")
        certificates.check_not_revoked(leaf, (crl,) if crl else (), nation.identity_cas, now)
    certificates.newest_list((crl,) if crl else (), nation.identity_cas)  # another nation's list would prove nothing
    check_tls_pair(ders[-1], path / TLS_KEY)
    return ders


def _refused(detail: str) -> Exception:
    return error(
        Reason.BAD_CERTIFICATE,
        field="certificates",
        detail=detail,
        next_step=f"Have the national CA issue one certificate for each request in {REQUEST}, in that order.",
    )
