"""Marks on the command line: what a file of another format does not know is said there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from infoexchange.catalogue import Domain, examples, rules
from infoexchange.cli import mail
from infoexchange.cli.parser import Parser
from infoexchange.errors import Reason, RefusedError

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
MARKS = ("--op-status", "EXERCISE", "--tlp", "GREEN", "--purpose", "exercise")


def marks(*options):
    parser = Parser()
    mail.add_marks(parser)
    return mail.marks_of(parser.parse_args([*MARKS, *options]), NOW)


def test_an_alert_belongs_to_the_domain_that_is_said():
    data = examples.read("alert.cap.xml")
    messages, reading = mail.imported("cap", data, marks("--domain", "MINE_ACTION"), NOW)
    assert reading.notes == []
    assert messages[0].handling.domain == Domain.DOMAIN_MINE_ACTION
    rules.check(messages[0])
    with pytest.raises(RefusedError) as refused:
        mail.imported("cap", data, marks(), NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "handling.domain")


def test_a_type_keeps_the_domain_that_is_its_own():
    amber = marks("--tlp", "AMBER", "--domain", "CYBER")
    (message,), _ = mail.imported("iso20022", examples.read("camt056.xml"), amber, NOW)
    assert message.handling.domain == Domain.DOMAIN_ECONOMIC_CRIME


def test_every_domain_can_be_said():
    names = {name.removeprefix("DOMAIN_") for name, number in Domain.items() if number}
    for name in names:
        assert marks("--domain", name).domain == Domain.Value(f"DOMAIN_{name}")
    with pytest.raises(SystemExit):
        marks("--domain", "UNSPECIFIED")
