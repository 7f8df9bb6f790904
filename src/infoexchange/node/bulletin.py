"""Bulletin: the public signed statements that a relay publishes: key bundles and directory versions."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from infoexchange import certificates, chain
from infoexchange.audit import Routing, Subject
from infoexchange.bundle import PUBLISHED_LISTS_MAX, KeyBundle
from infoexchange.certificates import CLOCK_SKEW, Leaf
from infoexchange.directory import Directory
from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.listing import Party, Role
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Change
from infoexchange.states import Event


def decide_bundle(desk: Desk, caller: Party, bundle: KeyBundle) -> Job:
    """Return the job that publishes a key bundle; what `Node.decide_bundle` promises."""
    now = desk.clock()
    desk.directory.check_current(now)
    if caller.role is Role.AGENCY and caller.name != bundle.owner:
        raise error(Reason.NOT_PERMITTED, field="bundle.owner", detail=f"{caller.name} for {bundle.owner}")
    if len(bundle.crls) > PUBLISHED_LISTS_MAX:
        raise error(Reason.TOO_LARGE, field="crls", detail=f"{len(bundle.crls)}, at most {PUBLISHED_LISTS_MAX}")
    party = desk.directory.party(bundle.owner, at=now)
    bundle.lists_made(desk.directory)  # every list is of this nation's CAs
    known = desk.store.bundle(bundle.digest)
    others = [other for other in desk.store.bundles([bundle.owner]) if other.digest != bundle.digest]
    # What a CA said last concerns all bundles of the owner, those of a thief too; nobody goes back behind it.
    cas = desk.directory.nation(party.nation).identity_cas
    every = [crl for each in (bundle, *([known] if known else []), *others) for crl in each.crls]
    lists = certificates.newest_of_each(every, cas)[:PUBLISHED_LISTS_MAX]
    bundle, informed = _with_lists(bundle, lists), [_with_lists(other, lists) for other in others]
    newer = known is None or known.crls != lists
    try:
        # A peer hands on what its agencies sealed with, and the time of use may have ended on the way.
        bundle.prove(desk.directory, now=min(now, bundle.not_after) if caller.role is Role.RELAY else now)
    except UntrustedError as problem:
        # A newer list that revokes a known bundle is just what a relay must learn.
        if problem.reason is not Reason.REVOKED or known is None or not newer:
            raise
    _check_time(caller, bundle, now)
    if known is None:  # what is known already may still come with newer lists
        chain.check_follows(bundle, informed, desk.directory, now=now)
    desk.forget_chain(bundle.owner)
    # The same bundle comes again with newer revocation lists: that is an entry of its own; older ones are none.
    first = known if known and not newer else bundle
    pairs = zip(informed, others, strict=True)
    told = [o for o, before in pairs if o.crls != before.crls and now <= o.not_after + CLOCK_SKEW]
    return Job(tuple(_change(desk, party, each, now) for each in (first, *told)))


def _with_lists(bundle: KeyBundle, lists: Sequence[bytes]) -> KeyBundle:
    """Return a bundle with other revocation lists; the same object where they are the same, for it remembers proofs."""
    return bundle if bundle.crls == lists else KeyBundle.parse(bundle.raw, bundle.certificates, lists)


def _change(desk: Desk, party: Party, bundle: KeyBundle, now: datetime) -> Change:
    """Return the change that logs a bundle with its revocation lists, once for each set of them."""
    routing = Routing(
        event=Event.KEY_BUNDLE, logged_at=now, this_relay=desk.name, sender=party.name, sender_nation=party.nation
    )
    subject = Subject(sender_bundle=bundle.digest, directory_digest=desk.directory.digest)
    lists = sha256(b"".join(bundle.crls)).hexdigest()
    change = desk.change(routing, subject, bundle.digest, lists)
    return replace(change, exhibit=bundle.raw, bundle=bundle)


def _check_time(caller: Party, bundle: KeyBundle, now: datetime) -> None:
    """Raise unless a bundle is in use, or will be soon: it is published before, so that all have it in time."""
    if caller.role is Role.AGENCY and now > bundle.not_after + CLOCK_SKEW:
        raise error(Reason.STALE_BUNDLE, field="bundle", detail=f"epoch {bundle.epoch} of {bundle.owner} is over")
    if bundle.not_before > now + chain.PUBLISHED_AHEAD_MAX:
        detail = f"epoch {bundle.epoch} of {bundle.owner} begins in more than {chain.PUBLISHED_AHEAD_MAX.days} days"
        raise error(Reason.NOT_YET_VALID, field="bundle.not_before_ms", detail=detail)


def check_standing(desk: Desk, party: Party) -> None:
    """Return unless a party's newest bundle is of a revoked identity; what `Node.check_standing` promises."""
    now, cas = desk.clock(), desk.directory.nation(party.nation).identity_cas
    for newest in desk.chain_of(party.name)[:1]:
        leaves: list[Leaf] = []
        for der in newest.certificates:
            with contextlib.suppress(UntrustedError):  # what has expired is not revoked by that
                # Within a minute the same question has the same answer, and costs nothing.
                leaves.append(certificates.verify_leaf(der, cas, now.replace(second=0, microsecond=0)))
        for leaf in leaves:
            certificates.check_not_revoked(leaf, newest.crls, cas, now)


def decide_directory(desk: Desk, raw: bytes) -> Job:
    """Return the job that logs the next directory version; what `Node.decide_directory` promises."""
    return Job((directory_change(desk, desk.directory.succeed(raw)),))


def check_newest(desk: Desk, jobs: Sequence[Job]) -> None:
    """Raise `UNAVAILABLE` if another node of this relay follows a newer directory, unless jobs say what it logged.

    What was decided under an older version would stand in the log after the newer one.
    """
    if desk.store.latest(Event.DIRECTORY_VERSION) == desk.directory_place:
        return
    changes = [change for job in jobs for change in job.changes]
    if all(c.event is Event.DIRECTORY_VERSION and desk.store.history(c.digest) for c in changes):
        return
    detail = "another node of this relay follows a newer version, and this one will in a moment"
    raise error(Reason.UNAVAILABLE, field="directory", detail=detail, next_step="Try again.")


def directory_change(desk: Desk, directory: Directory) -> Change:
    """Return the change that logs a directory version."""
    routing = Routing(event=Event.DIRECTORY_VERSION, logged_at=desk.clock(), this_relay=desk.name)
    change = desk.change(routing, Subject(directory_digest=directory.digest), directory.digest)
    return replace(change, exhibit=directory.raw)


def directories(desk: Desk, after: int) -> list[bytes]:
    """Return every directory version logged here after version `after`, ascending."""
    # Versions rise by one from entry to entry, so the newest stands last.
    logged = desk.store.exhibits(Event.DIRECTORY_VERSION)
    newer = desk.directory.version - after
    return list(logged[-newer:]) if newer > 0 else []
