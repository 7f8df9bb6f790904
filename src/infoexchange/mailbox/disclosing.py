"""Disclosing: how an agency shows records of a message to an auditor: approved, logged, and only then handed out."""

from __future__ import annotations

from infoexchange.approval import Approval, Consent
from infoexchange.disclosure import Disclosure
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import History, Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import Suite, suite_of


def approve(desk: Desk, disclosure: Disclosure, history: History, *, audience: str, legal_basis: str) -> Receipt:
    """Return the proof that the relay logged this agency's approval; part of what `Mailbox.disclose` promises.

    Args:
        desk: Who approves.
        disclosure: What.
        history: What is logged of the message, every receipt verified.
        audience: For whom.
        legal_basis: On what basis; may be empty.
    """
    manifest = disclosure.manifest
    desk.turn()
    consent = Consent(
        envelope_digest=manifest.digest,
        disclosure_digest=disclosure.digest,
        record_count=len(disclosure.leaves),
        issuer=desk.identity.name,
        issuer_bundle=desk.newest.digest,
        audience=audience,
        legal_basis=legal_basis,
        at=desk.clock(),
    )
    # What a run before was not told of any more, or did not write down, is logged already and is not logged twice.
    suite = suite_of(manifest.header.suite)
    logged = _logged_before(desk, consent, suite, history)
    if logged is not None:
        return logged
    approval = Approval.sign(consent, suite, desk.keys)
    [result] = desk.relay.acknowledge([Notice(manifest.digest, Event.AUDIT_DISCLOSURE, approval.raw)])
    if isinstance(result, ExchangeError):
        raise result
    try:
        result.verify(desk.directory)
    except ExchangeError as problem:
        why = f"a receipt that does not hold: {problem.reason.word}, {problem.detail}"
        raise error(Reason.UNAVAILABLE, field="receipt", detail=why) from None
    about = (result.routing.event, result.subject.envelope_digest, result.subject.statement_digest)
    if about != (Event.AUDIT_DISCLOSURE, manifest.digest, approval.digest):
        raise error(
            Reason.UNAVAILABLE,
            field="receipt",
            detail="another disclosure of this message was logged at the same moment",
            next_step="Run it again; nothing was shown.",
        )
    return result


def _logged_before(desk: Desk, consent: Consent, suite: Suite, history: History) -> Receipt | None:
    """Return the receipt of an approval that says just this and is logged already."""
    for approval in history.approvals:
        said = approval.statement
        # Of this agency's older bundles it does not keep the certificates, so it could not tell whether it signed.
        if said.same_as(consent) and said.issuer_bundle == consent.issuer_bundle:
            approval.verify(desk.directory, desk.newest, suite)
            return next(r for r in history.events if r.subject.statement_digest == approval.digest)
    return None
