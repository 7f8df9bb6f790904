"""KeyBundle: an agency's public keys for one epoch, signed by its identity (SPEC section KeyBundle)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from infoexchange import certificates, suites, wire
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import Reason, error
from infoexchange.keys import REQUIRED, EpochKeys, Identity, KeyUsage
from infoexchange.listing import Nation, Party
from infoexchange.suites import Suite
from infoexchange.v1 import bundle_pb2

# Specification constants
BUNDLE_SIZE_MAX = 64 * 1024  # a bundle for every suite is below 20 KiB
BUNDLE_LIFETIME_MAX = timedelta(days=30)  # bounds what one stolen epoch key can open
EPOCH_MAX = 2**63 - 1  # fits a signed 64-bit number in every language and database
PUBLISHED_LISTS_MAX = 4  # a nation's identity CA, its next one, and room
CRL_SIZE_MAX = 1024 * 1024  # ten thousand revocations
_ALGORITHMS = ("Ed25519", "ML-DSA-65")  # the two identity signatures, in this order

# Implementation constants
_NEVER = datetime.min.replace(tzinfo=UTC)
_PROVEN_MAX = 1024  # minutes remembered per bundle


@dataclass(frozen=True)
class KeyBundle:
    """A parsed bundle with the certificates that prove it; not verified until `verify` says so."""

    dsse: Dsse = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    crls: tuple[bytes, ...] = field(repr=False)
    _message: bundle_pb2.KeyBundle = field(repr=False, compare=False)
    _proven: set[tuple[bytes, datetime]] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes, certificates: Sequence[bytes] = (), crls: Sequence[bytes] = ()) -> KeyBundle:
        """Return the bundle in container bytes `raw`, with DER identity certificates and revocation lists.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms and field lengths
        dsse = Dsse.parse(raw, payload_type=TYPE_KEYBUNDLE, size_max=BUNDLE_SIZE_MAX)
        m = wire.parse(bundle_pb2.KeyBundle, dsse.payload, size_max=BUNDLE_SIZE_MAX, field="bundle")
        wire.check_name(m.owner, field="bundle.owner")
        wire.check_size(m.previous, wire.DIGEST_SIZE, field="bundle.previous", optional=True)
        wire.check_ascending([k.suite for k in m.enc_keys], field="bundle.enc_keys")
        for digest in m.identity_certs:
            wire.check_size(digest, wire.DIGEST_SIZE, field="bundle.identity_certs")
        first = m.epoch == 1
        if first == bool(m.previous) or (first and m.withdraws_older):
            detail = "the first bundle follows none, every other names the one before"
            raise error(Reason.BAD_FIELD, field="bundle.previous", detail=detail)
        if m.tls_spki:
            raise error(Reason.BAD_FIELD, field="bundle.tls_spki", detail="not offered by this version")
        usages = [(key.suite, int(key.usage)) for key in m.sig_keys]
        if usages != sorted(set(usages)):
            raise error(
                Reason.BAD_FIELD, field="bundle.sig_keys", detail="one key for each suite and purpose, ascending"
            )
        _check_whole(m)
        start = wire.from_ms(m.not_before_ms, field="bundle.not_before_ms")
        end = wire.from_ms(m.not_after_ms, field="bundle.not_after_ms")
        if not 1 <= m.epoch <= EPOCH_MAX or not timedelta(0) < end - start <= BUNDLE_LIFETIME_MAX:
            raise error(Reason.BAD_FIELD, field="bundle.not_after_ms", detail="epoch from 1; at most 30 days of use")
        if len(m.identity_certs) != len(_ALGORITHMS) or len(certificates) > len(_ALGORITHMS):
            raise error(Reason.BAD_FIELD, field="bundle.identity_certs", detail="exactly two identity certificates")
        if any(len(crl) > CRL_SIZE_MAX for crl in crls):
            raise error(Reason.TOO_LARGE, field="crls", detail=f"at most {CRL_SIZE_MAX} bytes each")
        return cls(dsse, tuple(certificates), tuple(crls), m)

    @classmethod
    def issue(
        cls,
        identity: Identity,
        certificates: Sequence[bytes],
        crls: Sequence[bytes],
        *,
        now: datetime,
        previous: KeyBundle | None = None,
        withdraw: bool = False,
    ) -> KeyBundle:
        """Return a new bundle of an identity's newest epoch, for 30 days, signed by both halves of its identity key.

        Args:
            identity: Whose newest epoch keys are published.
            certificates: DER identity certificates, Ed25519 then ML-DSA-65.
            crls: DER revocation lists of the issuing CA, newest first.
            now: First moment of use.
            previous: The bundle of the epoch before; nothing for epoch 1 only.
            withdraw: Whether all older bundles are withdrawn from `now` on, because somebody else may have their keys.

        Raises:
            UnavailableError: The hardware token that holds an identity key cannot be used now.
        """
        epoch = identity.epochs[0]
        payload = bundle_pb2.KeyBundle(
            owner=identity.name,
            epoch=epoch.epoch,
            not_before_ms=wire.to_ms(now),
            not_after_ms=wire.to_ms(now + BUNDLE_LIFETIME_MAX),
            enc_keys=[bundle_pb2.EncKey(suite=n, public_key=k.public) for n, k in sorted(epoch.opening.items())],
            sig_keys=[
                bundle_pb2.SigKey(suite=n, public_key=k.public, keyid=k.key_id, usage=bundle_pb2.KeyUsage.ValueType(u))
                for (n, u), k in sorted(epoch.signing.items())
            ],
            accept_suites=sorted(epoch.opening),
            previous=previous.digest if previous else b"",
            identity_certs=[sha256(c).digest() for c in certificates],
            withdraws_older=withdraw,
        )
        raw = wire.canonical(payload)
        dsse = Dsse.make(TYPE_KEYBUNDLE, raw, identity.key.sign(TYPE_KEYBUNDLE, raw))
        return cls.parse(dsse.raw, certificates, crls)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: how headers and wraps name this bundle."""
        return self.dsse.digest

    @property
    def owner(self) -> str:
        """Name of the party whose keys these are."""
        return self._message.owner

    @property
    def epoch(self) -> int:
        """Number of the epoch, rising."""
        return self._message.epoch

    @property
    def previous(self) -> bytes:
        """Digest of the bundle of the epoch before; empty for the first."""
        return self._message.previous

    @property
    def withdraws_older(self) -> bool:
        """Whether bundles of lower epochs are withdrawn from `not_before` on."""
        return self._message.withdraws_older

    @functools.cached_property
    def not_before(self) -> datetime:
        """First moment of use."""
        return wire.from_ms(self._message.not_before_ms, field="bundle.not_before_ms")

    @functools.cached_property
    def not_after(self) -> datetime:
        """Last moment of use."""
        return wire.from_ms(self._message.not_after_ms, field="bundle.not_after_ms")

    @property
    def accept_suites(self) -> tuple[int, ...]:
        """Suites the owner opens: exactly those with a key to seal to."""
        return tuple(self._message.accept_suites)

    def check_named(self, digest: bytes, owner: str, *, field: str) -> None:
        """Raise `STALE_BUNDLE` unless this is the bundle that a signed statement names as its issuer's."""
        if self.digest != digest or self.owner != owner:
            raise error(Reason.STALE_BUNDLE, field=field, detail="not the bundle it names")

    def verify(self, directory: Directory, *, now: datetime) -> Party:
        """Return the owner, once its certificates and both identity signatures have been checked.

        Spec: section KeyBundle, steps 2 to 6.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `STALE_BUNDLE` when `now` lies outside its time of use.
        """
        party = self.prove(directory, now=now)
        # (6) time of use
        if not self.not_before - certificates.CLOCK_SKEW <= now <= self.not_after + certificates.CLOCK_SKEW:
            raise error(Reason.STALE_BUNDLE, field="bundle", detail=f"epoch {self.epoch} of {self.owner} is not in use")
        return party

    def prove(self, directory: Directory, *, now: datetime) -> Party:
        """Return the owner, once it is shown to have signed this bundle, whether the bundle is in use yet or not.

        Spec: section KeyBundle, steps 2 to 5.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
        """
        # (2) the owner took part at that time
        party = directory.party(self.owner, at=now)
        # Certificates and signatures cost a millisecond; their result stands for the minute it was found in.
        minute = (directory.digest, now.replace(second=0, microsecond=0))
        if minute not in self._proven:
            self._prove(directory.nation(party.nation), now)
            if len(self._proven) >= _PROVEN_MAX:
                self._proven.clear()
            self._proven.add(minute)
        return party

    def _prove(self, nation: Nation, now: datetime) -> None:
        """Raise unless certificates, revocation and signatures hold (steps 3 to 5)."""
        # (3) certificates: those the bundle names, from a CA of that nation, in the owner's name
        if not self.is_provable:
            raise error(Reason.BAD_CERTIFICATE, field="bundle.identity_certs", detail="other certificates came along")
        leaves = [certificates.verify_leaf(c, nation.identity_cas, now) for c in self.certificates]
        if tuple(leaf.algorithm for leaf in leaves) != _ALGORITHMS:
            raise error(Reason.BAD_CERTIFICATE, field="bundle.identity_certs", detail="one Ed25519, one ML-DSA-65")
        if any(leaf.name != self.owner for leaf in leaves):
            raise error(Reason.BAD_CERTIFICATE, field="bundle.owner", detail="the certificates are another party's")
        # (4) not revoked
        for leaf in leaves:
            certificates.check_not_revoked(leaf, self.crls, nation.identity_cas, now)
        # (5) both signatures, then the keys they vouch for
        if len(self.dsse.signatures) != len(leaves):
            raise error(Reason.BAD_SIGNATURE, field="bundle", detail="one signature per identity key is needed")
        suites.verify_ed25519(leaves[0].public, self.dsse.message, self.dsse.signatures[0])
        suites.verify_mldsa65(leaves[1].public, self.dsse.message, self.dsse.signatures[1])
        self._check_keys([leaf.public for leaf in leaves])

    def _check_keys(self, identity: Sequence[bytes]) -> None:
        """Raise `BAD_CERTIFICATE` unless every key is acceptable and neither it nor a half of it serves elsewhere."""
        # Keys of suites that cannot be done here are for others; an agency may add a suite before all have it.
        parts = list(identity)
        for enc in self._message.enc_keys:
            suite = suites.usable(enc.suite)
            if suite:
                suite.check_opening_key(enc.public_key)
            parts += suite.sealing.parts(enc.public_key) if suite else [enc.public_key]
        for sig in self._message.sig_keys:
            suite = suites.usable(sig.suite)
            if suite:
                suite.check_signing_key(sig.public_key)
            parts += suite.signing.parts(sig.public_key) if suite else [sig.public_key]
        if len(set(parts)) != len(parts):
            raise error(Reason.BAD_CERTIFICATE, field="bundle.sig_keys", detail="one key, two purposes")

    def revocation_known(self, directory: Directory, *, at: datetime) -> bool:
        """Whether revocation lists valid at `at` came along for every certificate (auditors ask this)."""
        nation = directory.nation(directory.party(self.owner, at=at).nation)
        leaves = [certificates.verify_leaf(c, nation.identity_cas, at) for c in self.certificates]
        return all(certificates.check_not_revoked(leaf, self.crls, nation.identity_cas, at) for leaf in leaves)

    def lists_made(self, directory: Directory) -> datetime:
        """Return when the newest revocation list was made that came along; long ago where none did.

        Raises:
            UntrustedError: `BAD_CERTIFICATE` when one is not signed by a CA of the owner's nation.
        """
        party = directory.listed(self.owner)
        cas = directory.nation(party.nation).identity_cas if party else ()
        return certificates.newest_list(self.crls, cas) or _NEVER

    def signing_public(self, suite: Suite, usage: KeyUsage) -> bytes:
        """Return the public key for a suite and purpose, or raise `SUITE_NOT_ACCEPTED`."""
        for key in self._message.sig_keys:
            if key.suite == suite.number and key.usage == int(usage):
                return key.public_key
        raise error(
            Reason.SUITE_NOT_ACCEPTED, field="bundle.sig_keys", detail=f"{self.owner} does not sign in {suite.name}"
        )

    def opening_key(self, suite: Suite) -> tuple[int, bytes]:
        """Return `(index, public key)` to seal to in a suite, or raise `SUITE_NOT_ACCEPTED`."""
        for index, key in enumerate(self._message.enc_keys):
            if key.suite == suite.number:
                return index, key.public_key
        raise error(
            Reason.SUITE_NOT_ACCEPTED, field="bundle.enc_keys", detail=f"{self.owner} does not accept {suite.name}"
        )

    @property
    def is_provable(self) -> bool:
        """Whether the certificates came along without which nobody can verify it."""
        return [sha256(c).digest() for c in self.certificates] == list(self._message.identity_certs)

    def named(self, certificates: Mapping[bytes, bytes]) -> list[bytes]:
        """Return those DER certificates, given by digest, that this bundle names, in its order."""
        return [certificates[digest] for digest in self._message.identity_certs if digest in certificates]

    def keys_in(self, identity: Identity) -> EpochKeys:
        """Return the private halves of this bundle, or raise `STALE_BUNDLE` once they are destroyed."""
        return identity.keys_of(self.epoch)


def _check_whole(message: bundle_pb2.KeyBundle) -> None:
    """Raise `BAD_FIELD` unless every suite offered is offered whole, and no other is signed in but to acknowledge."""
    accepted = list(message.accept_suites)
    if not accepted or accepted != [key.suite for key in message.enc_keys]:
        raise error(
            Reason.BAD_FIELD, field="bundle.accept_suites", detail="not exactly the suites of the keys to seal to"
        )
    signed = {(key.suite, int(key.usage)) for key in message.sig_keys}
    closing = {(suite, int(KeyUsage.ACKNOWLEDGEMENT)) for suite, _ in signed}
    required = closing | {(suite, int(usage)) for suite in accepted for usage in REQUIRED}
    if not required <= signed <= required | {(suite, int(KeyUsage.ATTESTATION)) for suite in accepted}:
        raise error(
            Reason.BAD_FIELD, field="bundle.sig_keys", detail="a suite that is accepted has a key for each purpose"
        )
