"""Coverage: every clause of the declarations has messages, every message a clause, and the page says the same."""

from __future__ import annotations

import coverage_of_clauses as coverage

from infoexchange import catalogue

ROWS = list(coverage.rows())


def test_the_page_is_up_to_date() -> None:
    assert coverage.PAGE.read_text(encoding="utf-8") == coverage.page()


def test_no_clause_is_empty_and_no_message_is_left_out() -> None:
    clauses = {line.partition(",")[0] for line in coverage.CLAUSES.read_text(encoding="utf-8").splitlines()[1:]}
    assert {row[0] for row in ROWS} == clauses
    assert {row[2] for row in ROWS} == {cls.DESCRIPTOR.name for cls in catalogue.schemas().values()}


def test_every_row_has_a_flow_and_a_test() -> None:
    for clause, subject, message, flow, tests in ROWS:
        assert clause
        assert subject
        assert catalogue.message_type(message)
        assert flow
        assert tests, message
