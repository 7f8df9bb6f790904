"""Coverage: which clause of the two declarations is served by which message, in which flow, and by which tests.

Writes docs/coverage.md from docs/clauses.csv and the schemas; with --check, only says whether it is up to date.
"""

from __future__ import annotations

import csv
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from infoexchange import catalogue
from infoexchange.catalogue import steps
from infoexchange.catalogue.v1 import options_pb2

ROOT = Path(__file__).resolve().parent.parent
CLAUSES, PAGE = ROOT / "docs" / "clauses.csv", ROOT / "docs" / "coverage.md"
_HEAD = """# What the declarations want, and what carries it

Made by `python tools/coverage_of_clauses.py` from `clauses.csv` and the schemas; a test fails when it is not up to
date. *Flow* is what the schema says to the machine of `infoexchange.flows`: who asks is owed the answer named, and a
change is of a message of its sender's own. Each message also has an example that goes through `tests/test_examples.py`
and `tests/test_flows.py`.

| clause | subject | message | flow | tests |
|---|---|---|---|---|
"""


def flow(name: str) -> str:
    """Return what a message is in a conversation, as its schema says to the machine of `infoexchange.flows`."""
    answered, answering = sorted(steps.answers(name)), steps.replies(name)
    found = [f"answers {one}" for one in answered]
    if name in steps.asking():
        found.append(f"asks for {' or '.join(answering)}")
    kinds = {
        field.GetOptions().Extensions[options_pb2.refers] for field in catalogue.message_type(name).DESCRIPTOR.fields
    }
    if options_pb2.REFERENCE_OWN in kinds:
        found.append("changes an own message")
    if not found and options_pb2.REFERENCE_ANSWER in kinds:
        found.append("refers to a message")
    return "; ".join(found) or "report"


def tests(name: str) -> list[str]:
    """Return the test files that speak of a message."""
    return [file for file, words in _words() if name in words]


@functools.cache
def _words() -> list[tuple[str, frozenset[str]]]:
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [(file.name, frozenset(re.findall(r"\w+", file.read_text(encoding="utf-8")))) for file in files]


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield clause, subject, message, flow and tests."""
    named = {cls.DESCRIPTOR.name: cls for cls in catalogue.schemas().values()}
    with CLAUSES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for word in row["messages"].split():
                domain = options_pb2.Domain.Value(f"DOMAIN_{word[1:]}") if word.startswith("@") else 0
                found = [n for n, cls in named.items() if domain and _domain(cls) == domain] or [word]
                for name in found:
                    yield row["clause"], row["subject"], name, flow(name), ", ".join(tests(name))


def _domain(cls: type) -> int:
    return int(cls.DESCRIPTOR.GetOptions().Extensions[options_pb2.domain])  # type: ignore[attr-defined]


def page() -> str:
    """Return the page."""
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows())


def main() -> int:
    """Write the page, or say that it has to be written."""
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") == page():
            return 0
        print("docs/coverage.md is not up to date; run: python tools/coverage_of_clauses.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
