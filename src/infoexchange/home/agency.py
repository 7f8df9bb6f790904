"""Agency: what an agency's folder holds, opened and checked, and how its keys are kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from infoexchange import certificates, chain, rotation
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, RefusedError, UnavailableError, error
from infoexchange.home.enrolment import checked_leaves
from infoexchange.home.files import exclusive, missing, write_file
from infoexchange.home.folder import CRL, IDENTITY, REQUEST, SPOOL, TLS_KEY, Folder
from infoexchange.keys import EpochKeys, Identity, TokenKey
from infoexchange.listing import Roots
from infoexchange.spool import SqliteSpool
from infoexchange.suites import OFFERED, Suite


@dataclass(frozen=True)
class Tls:
    """What a TLS connection to the own relay needs, all as PEM: the own certificate and key, and the relay's CAs."""

    chain: bytes
    key: bytes = field(repr=False)
    roots: bytes


class Home:
    """An agency's folder, read and checked; what changes it is locked against other processes."""

    def __init__(self, folder: Folder, identity: Identity, directory: Directory, bundles: Sequence[KeyBundle]) -> None:
        """Hold what was read; use `open` or `enroll` to get one."""
        self.folder = folder
        self.path = folder.path
        self.identity = identity
        self.directory = directory
        self.bundles = tuple(bundles)
        self.unrotated: ExchangeError | None = None  # why the next bundle could not be issued, if that was tried

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
            folder.put_directory(directory, roots, folder.held_directory())
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
    def name(self) -> str:
        """The agency's name."""
        return self.identity.name

    @property
    def bundle(self) -> KeyBundle:
        """The newest own bundle; it may not have begun yet."""
        return self.bundles[0]

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

    def save_directory(self, directory: Directory) -> None:
        """Keep a newer, verified directory for the next start; the one held already changes nothing.

        Raises:
            UntrustedError: `DIRECTORY_ROLLBACK` when it is older than the one held.
        """
        with self.folder.locked():
            self.folder.put_directory(directory, directory.listing.roots, self.folder.directory())
        self.directory = directory

    # Keys in turn

    def rotate(self, *, now: datetime, suites: Sequence[Suite] = ()) -> bool:
        """Keep the keys up to date; return whether the bundle of a new epoch was issued.

        The next one is issued ten days before the newest ends, begins 48 hours later, and is published by the caller.
        Secrets that nobody may use any more are destroyed. Where the next one cannot be issued now, because a token or
        a passphrase is missing, that is no problem before the newest has ended; `reminders` names it. The new epoch offers
        `suites`; without them, what the one before offered.

        Raises:
            ExchangeError: The keys have ended, and new ones cannot be issued.
        """
        # Under an expired directory nothing could be sent, and a clock that is far ahead must not destroy keys.
        if now >= self.directory.listing.expires_at:
            return False
        if not rotation.is_due(self.bundle, now) and not self._over(now):
            return False
        with self.folder.locked():
            self._reload()  # another process may have done it since this one read the folder
            due = rotation.is_due(self.bundle, now)
            if due:
                try:
                    self._issue(rotation.start_of_next(self.bundle, now), suites)
                except (UnavailableError, RefusedError) as problem:
                    if now > self.bundle.not_after:
                        raise
                    self.unrotated, due = problem, False
            self._destroy(now)
        return due

    def issue_next(
        self, *, now: datetime, suites: Sequence[Suite] = (), withdraw: bool = False, at_once: bool = False
    ) -> KeyBundle:
        """Issue the bundle of the next epoch, whether it is time or not, and return it.

        Args:
            now: The time now.
            suites: What the new epoch offers, if not what the one before did.
            withdraw: Withdraw all older bundles, because somebody else may have their keys; begins at once.
            at_once: Begin now and not in 48 hours.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`.
            UnavailableError: The token that holds the identity key cannot be used.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            start = now if withdraw or at_once else rotation.start_of_next(self.bundle, now)
            self._issue(start, suites, withdraw=withdraw)
            self._destroy(now)
        return self.bundle

    def go_on_after(self, published: Sequence[KeyBundle], *, now: datetime) -> KeyBundle | None:
        """Issue a bundle after those that the world has and this folder has not; nothing where there are none.

        After an older copy of the folder was put back, or its keys were made anew, epochs that others know are missing
        here. Nothing sealed to them can be opened any more; what matters is that no epoch comes twice.

        Args:
            published: The agency's bundles, as its relay has them.
            now: The time now.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`.
            UnavailableError: The token that holds the identity key cannot be used.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            theirs = {b.digest for b in published}
            shown = [b for b in published if b.owner == self.name and chain.is_proven(b, self.directory, now)]
            newest = max(shown, key=lambda b: b.epoch, default=None)
            if newest is None or newest.digest in {b.digest for b in self.bundles}:
                return None
            lost = [b for b in self.bundles if b.digest not in theirs]
            kept = [b for b in self.bundles if b.digest in theirs]
            # The keys first: a bundle without keys is removed by the next call, keys without a bundle might be used.
            held = [keys for keys in self.identity.epochs if keys.epoch in {b.epoch for b in kept}]
            self._put_keys(newest.epoch + 1, held)
            for bundle in lost:
                self.folder.remove_bundle(bundle)
            self.bundles = tuple(kept)
            self._issue(now, after=newest)
        return self.bundle

    def destroy_old(self, *, now: datetime) -> list[int]:
        """Destroy the secrets that nobody may use any more; return the epochs of which some were.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`: by a clock that is far ahead nothing is destroyed.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            return self._destroy(now)

    def _reload(self) -> None:
        self.identity, self.bundles = self.folder.identity(), self.folder.bundles()

    def _put_identity(self, identity: Identity) -> None:
        self.folder.write_identity(identity)
        self.identity = identity

    def _put_keys(self, epoch: int, held: Sequence[EpochKeys], suites: Sequence[Suite] = ()) -> None:
        """Make the keys of an epoch, durable at once, beside those of the epochs that are kept."""
        # What was sealed in a suite that is offered no more is still acknowledged in it.
        closing = [suite for keys in held for suite in keys.offered]
        fresh = EpochKeys.make(epoch, suites=suites or self.identity.epochs[0].offered or OFFERED, closing=closing)
        self._put_identity(replace(self.identity, epochs=(fresh, *held)))

    def _issue(
        self,
        start: datetime,
        suites: Sequence[Suite] = (),
        *,
        withdraw: bool = False,
        after: KeyBundle | None = None,
    ) -> None:
        """Issue the next bundle. The lock is held."""
        previous = after or (self.bundles[0] if self.bundles else None)
        epoch = previous.epoch + 1 if previous else 1
        # The keys become durable before the bundle that promises them. A crash in between leaves keys without a
        # bundle; the next call makes the bundle of those keys, but not after a theft: the thief may have them too.
        if withdraw or self.identity.epochs[0].epoch < epoch:
            self._put_keys(epoch, [keys for keys in self.identity.epochs if keys.epoch < epoch], suites)
        bundle = KeyBundle.issue(
            self.identity,
            self.folder.leaves()[:2],
            self.folder.crls(),
            now=start,
            previous=previous,
            withdraw=withdraw,
        )
        self.folder.write_bundle(bundle)
        self.bundles = (bundle, *self.bundles)

    def _over(self, now: datetime) -> bool:
        """Whether there are secrets to destroy."""
        return rotation.remaining(self.identity, self.bundles, now) != self.identity

    def _destroy(self, now: datetime) -> list[int]:
        """Destroy secrets that are over. The lock is held; a crash leaves all of them, or a bundle without keys."""
        remaining = rotation.remaining(self.identity, self.bundles, now)
        left = {keys.epoch: keys for keys in remaining.epochs}
        changed = [keys.epoch for keys in self.identity.epochs if left.get(keys.epoch) != keys]
        if changed:
            self._put_identity(remaining)
        opened = {keys.epoch for keys in remaining.epochs if keys.opening}
        for bundle in self.bundles[1:]:  # the newest keeps the place in the chain
            if bundle.epoch not in opened:
                self.folder.remove_bundle(bundle)
        self.bundles = (self.bundles[0], *(b for b in self.bundles[1:] if b.epoch in opened))
        return changed

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
