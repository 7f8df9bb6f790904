"""Disclosed: targets of what is signed inside a message and of what is shown of one."""

from __future__ import annotations

import shown
from fuzz.target import Target, message_of
from fuzz.world import SENDER, World
from infoexchange.approval import Approval
from infoexchange.attestation import Attestation
from infoexchange.disclosure import Disclosure
from infoexchange.statement import parse_statement
from infoexchange.v1 import disclosure_pb2, envelope_pb2


def targets(world: World) -> list[Target]:
    """Return the targets; a disclosure is also verified, as an auditor does."""
    exchange, dsse = world.exchange, envelope_pb2.Dsse
    approvals, disclosures = shown.approvals(exchange), shown.disclosures(exchange)
    sender = exchange.community.members[SENDER].bundle
    return [
        message_of("Attestation", Attestation, dsse, shown.attestations(exchange)),
        message_of("Approval", Approval, dsse, approvals),
        message_of("statement, of an approval", parse_statement, dsse, approvals),
        message_of("Disclosure", Disclosure, disclosure_pb2.Disclosure, disclosures),
        message_of(
            "Disclosure, verified",
            Disclosure,
            disclosure_pb2.Disclosure,
            disclosures,
            read=lambda raw: Disclosure.parse(raw).verify(exchange.directory, sender),
            raw=None,
        ),
    ]
