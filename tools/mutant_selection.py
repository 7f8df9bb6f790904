"""Mutant selection: which tests can notice a fault in a line of the library."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from mutant_tests import SOURCE, Test
from mutations import Mutation

PACKAGE = SOURCE / "infoexchange"
_SECONDS_MAX = 2.0  # a test that takes longer is none of a line
_TOTAL_MAX = 4.0  # seconds of tests of other modules for one mutation; what only a later one would notice has no test


class Selection:
    """Which tests can notice a mutation: those that run its line, those of its own module first, then the quickest."""

    def __init__(self, tests: Iterable[Test]) -> None:
        self._tests = sorted((t for t in tests if t.seconds <= _SECONDS_MAX), key=lambda test: test.seconds)

    def of(self, path: Path, mutation: Mutation) -> list[Test]:
        """Return the tests, in the order in which they run."""
        file = str(path.relative_to(SOURCE))
        own = {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts} - {"__init__"}
        if not mutation.name:
            exact = self._running({file: frozenset({mutation.line})}, own)
            # A line of a statement over several lines may not count as run itself.
            return exact or self._running({file: frozenset(range(mutation.body[0], mutation.body[1] + 1))}, own)
        users = self._running(_uses(mutation.name), own) or self._running({file: frozenset(range(1, 10**6))}, own)
        # A test of the module may compare a constant with what the specification says, and run no line that uses it.
        name = path.parent.name if path.stem == "__init__" else path.stem
        known = {test.name for test in users}
        return [t for t in self._tests if t.name not in known and name in Path(t.file).stem.split("_")] + users

    def of_all(self, work: Iterable[tuple[str, Path, Mutation]]) -> list[Test]:
        """Return the tests of any of these mutations."""
        needed = {test.name for _, path, mutation in work for test in self.of(path, mutation)}
        return [test for test in self._tests if test.name in needed]

    def _running(self, lines: Mapping[str, frozenset[int]], own: set[str]) -> list[Test]:
        """Return the tests that run some lines: all in files that bear a name of `own`, and the quickest others."""
        running = [t for t in self._tests if any(not lines[file].isdisjoint(t.lines.get(file, ())) for file in lines)]
        near, others = list[Test](), list[Test]()
        for test in running:
            (others if own.isdisjoint(Path(test.file).stem.split("_")) else near).append(test)
        totals = itertools.accumulate(test.seconds for test in others)
        return near + [test for test, total in zip(others, totals, strict=True) if total <= _TOTAL_MAX]


@functools.cache
def _uses(name: str) -> dict[str, frozenset[int]]:
    """Return the lines inside functions that speak of a name, by file, directly or through another constant."""
    found: dict[str, set[int]] = {}
    for path, tree in _parsed().items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                said = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
                if said == name or (isinstance(node, ast.keyword) and node.arg == name):
                    found.setdefault(path, set()).add(node.lineno if hasattr(node, "lineno") else node.value.lineno)
    return {path: frozenset(lines) for path, lines in found.items()}


@functools.cache
def _parsed() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.name.endswith("_pb2.py")
    }
