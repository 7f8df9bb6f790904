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
from infoexchange.catalogue.v1 import options_pb2

ROOT = Path(__file__).resolve().parent.parent
CLAUSES, PAGE = ROOT / "docs" / "clauses.csv", ROOT / "docs" / "coverage.md"
_HEAD = """# What the declarations want, and what carries it

Made by `python tools/coverage_of_clauses.py` from `clauses.csv` and the schemas; a test fails when it is not up to
date. *Flow* is what the schema says: a reply names the message that it answers, a change one of its sender's own. Each
message also has an example that goes through `tests/test_examples.py`.

| clause | subject | message | flow | tests |
|---|---|---|---|---|
"""


def flow(name: str) -> str:
    """Return what a message is in a conversation, as its schema says."""
    descriptor = catalogue.message_type(name).DESCRIPTOR
    kinds = {field.GetOptions().Extensions[options_pb2.refers] for field in descriptor.fields}
    if options_pb2.REFERENCE_OWN in kinds:
        return "changes an own message"
    if options_pb2.REFERENCE_ANSWER in kinds:
        return "answers a message"
    if name in _asked():
        return "asks for an answer"
    return "report"


@functools.cache
def _asked() -> frozenset[str]:
    """Return the messages of which a reply exists: a request by its name, or one with a counterpart."""
    names = (cls.DESCRIPTOR.name for cls in catalogue.schemas().values())
    asking = re.compile(r"Request|Check$|Referral$|Offer$|Nomination$|Notification$|Inject$|OfInterest$")
    return frozenset(name for name in names if asking.search(name))


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
