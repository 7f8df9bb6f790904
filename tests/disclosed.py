"""A message that was received, records of which are shown: for tests of what is made of that."""

from __future__ import annotations

from catalogue_messages import person, request
from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.attestation import AttestationRole
from infoexchange.catalogue import records
from infoexchange.delivery import Delivery
from infoexchange.disclosure import Disclosure
from infoexchange.evidence import Evidence
from infoexchange.mailbox import Mailbox
from infoexchange.suites import HYBRID
from infoexchange.testing import Exchange
from infoexchange.verdict import Report

COURT = "Port State Control court"


class Case:
    """A message that was received, and what its recipient needs to show records of it."""

    def __init__(self, *, suite=HYBRID, blind: bool = False) -> None:
        self.exchange = Exchange(AGENCIES)
        for name in (RECIPIENT, SECOND):
            self.exchange.mailbox(name)
        made = request()
        person(made)
        draft = Draft(made, [RECIPIENT, SECOND], suite=suite, blind=blind, attest=[AttestationRole.SUPERVISOR])
        [receipt] = self.exchange.mailbox(SENDER).send_all([draft])
        self.digest = receipt.subject.envelope_digest
        self.delivery = self._received(RECIPIENT)
        self._received(SECOND)

    def _received(self, name: str) -> Delivery:
        box = self.exchange.mailbox(name)
        [delivery] = box.receive()
        box.acknowledge(delivery)
        box.flush()
        return delivery

    @property
    def box(self) -> Mailbox:
        return self.exchange.mailbox(RECIPIENT)

    def disclosure(self, *fields: str, attested: bool = False) -> Disclosure:
        content = self.delivery.content
        chosen = records.choose(records.name_records(content.schema, content.records), fields)
        return Disclosure.make(self.delivery.envelope.manifest, content, chosen, attested=attested)

    def disclose(self, *fields: str, audience: str = COURT, attested: bool = False) -> Evidence:
        self.exchange.witness()
        disclosure = self.disclosure(*fields, attested=attested)
        self.box.disclose(disclosure, audience=audience, legal_basis="Maritime Code")
        self.exchange.witness()
        return self.box.disclose(disclosure, audience=audience, legal_basis="Maritime Code")

    def report(self, evidence: Evidence | bytes) -> Report:
        read = Evidence.parse(evidence if isinstance(evidence, bytes) else evidence.raw)
        return read.verify(read.directory(self.exchange.community.roots), now=self.exchange.clock())
