"""Mutants: put one small fault after another into the code that verifies, and see whether a test notices.

A fault that no test notices is a missing test, a needless line, or means the same: then it stands in tests/mutants.txt
with the reason. Fails below 95 % noticed, on a survivor that is not listed, and on a listed one that is none.

Use: python tools/mutants.py [--processes N] [MODULE ...]     for example: wire tlog.merkle
     --survivors    only what survived last time, after a test was added; --only TEXT    only what holds a text
     --sample 500   so many at random: all of them take hours
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType

from mutant_selection import PACKAGE, Selection
from mutant_tests import PATIENCE, ROOT, TESTS, Outcome, Running, Test, preload, start, tests_of
from mutations import Mutation, mutated, mutations
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

BUILD = ROOT / "build" / "mutants"
LISTED = TESTS / "mutants.txt"
# The code that decides whether something may be believed; a folder stands for the modules in it.
VERIFYING = (
    "wire", "dsse", "suites", "keys", "header", "manifest", "envelope", "bundle", "listing", "directory", "tlog",
    "misbehaviour",
)  # fmt: skip
KILLED_MIN = 0.95
# The test files that say something of formats, by the first word of their names; those of programs and of their users
# take many minutes, and what only they notice has no test of its own.
_FORMATS = (
    "attacks", "bundle", "certificates", "chain", "cipher", "composite", "directory", "downgrade", "ed25519",
    "envelope", "evidence", "grant", "hostile", "keks", "keychain", "keys", "manipulations", "misbehaviour", "origin",
    "properties", "published", "quorum", "recipients", "registry", "rotation", "sealed", "succession", "suites", "tlog",
    "vectors", "wire", "withdrawal", "watch", "witness",
)  # fmt: skip
_OTHERS_MAX = 3  # test files besides the likely ones: those with the quickest tests; each takes seconds to load


@dataclass(frozen=True)
class Result:
    """A mutation of a module and how it ended."""

    module: str
    mutation: Mutation
    outcome: Outcome
    tests: int

    @property
    def id(self) -> str:
        """The name by which a survivor is listed."""
        return f"{self.module}.{self.mutation.id}"


def modules(names: Sequence[str]) -> dict[str, Path]:
    """Return the verifying modules, or those named, by dotted name below the library."""
    found = {}
    for name in names or VERIFYING:
        place = PACKAGE / name.replace(".", "/")
        paths = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        if not all(path.is_file() for path in paths):
            sys.exit(f"there is no module {name} in {PACKAGE.relative_to(ROOT)}")
        for path in paths:
            dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found[dotted.removesuffix(".__init__")] = path
    return found


def reasons() -> list[str]:
    """Return the names of the closed list of reasons, in order."""
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    (closed,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Reason")
    return [node.targets[0].id for node in closed.body if isinstance(node, ast.Assign)]  # type: ignore[attr-defined]


def mutants_of(path: Path) -> list[Mutation]:
    """Return every mutation of a module."""
    return mutations(path.read_text(encoding="utf-8"), reasons())


def listed(text: str) -> dict[str, str]:
    """Return the accepted survivors with their reasons: a line each, and indented lines that say why below it."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = line
            if name in found:
                raise ValueError(f"listed twice: {name}")
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    silent = [name for name, why in found.items() if not why]
    if silent:
        raise ValueError(f"no reason given: {silent[0]}")
    return found


@dataclass
class _Asked:
    """A mutation whose tests run, some of which may wait until the first have ended."""

    module: str
    mutation: Mutation
    code: CodeType
    waiting: list[list[Test]]
    tests: int
    run: Running | None = None
    seconds: float = 0.0
    now: list[Test] = field(default_factory=list)
    patience: int = 1

    def go_on(self) -> int:
        """Start the next tests; return the process in which they run."""
        self.now, self.patience = self.waiting.pop(0), 1
        return self._start()

    def once_more(self) -> int:
        """Start the same tests with more time: ended by the clock is not yet noticed."""
        self.patience = PATIENCE
        return self._start()

    def _start(self) -> int:
        self.run = start(f"infoexchange.{self.module}", self.code, self.now, self.patience)
        return self.run.process


def results(work: Sequence[tuple[str, Path, Mutation]], selection: Selection, processes: int) -> Iterator[Result]:
    """Run the tests against every mutation, some at a time."""
    waiting, guess = iter(work), _Guess()
    running: dict[int, _Asked] = {}
    while True:
        while len(running) < processes:
            item = next(waiting, None)
            if item is None:
                break
            module, path, mutation = item
            tests = selection.of(path, mutation)
            if not tests:
                yield Result(module, mutation, Outcome(False, "no test runs it", 0.0), 0)
                continue
            stages = guess.stages(module, path, mutation, tests)
            asked = _Asked(module, mutation, code_of(path, mutation), stages, len(tests))
            running[asked.go_on()] = asked
        if not running:
            return
        process, status, usage = os.wait4(-1, os.WNOHANG)
        if process == 0:
            _end_late([asked.run for asked in running.values() if asked.run])
            time.sleep(0.005)
            continue
        asked = running.pop(process)
        assert asked.run is not None
        outcome = asked.run.outcome(status, usage)
        asked.seconds += outcome.seconds
        if outcome.by == "timeout" and asked.patience == 1:
            running[asked.once_more()] = asked
            continue
        if not outcome.killed and asked.waiting:
            running[asked.go_on()] = asked
            continue
        guess.learn(asked.module, outcome.by)
        yield Result(asked.module, asked.mutation, replace(outcome, seconds=asked.seconds), asked.tests)


def _end_late(runs: Iterable[Running]) -> None:
    """End what uses no processor time and does not end by itself."""
    for run in runs:
        if time.perf_counter() > run.deadline:
            os.kill(run.process, signal.SIGKILL)


class _Guess:
    """Which tests are likely to notice a mutation: each file that is not loaded in vain saves time."""

    def __init__(self) -> None:
        self._before: dict[str, dict[str, str]] = {}
        self._files: dict[str, Counter[str]] = {}

    def stages(self, module: str, path: Path, mutation: Mutation, tests: Sequence[Test]) -> list[list[Test]]:
        """Return the tests in the order of the hope put into them: who noticed it last, the likely files, the rest."""
        if module not in self._before:
            self._before[module] = {name: row["by"] for name, row in written(module).items()}
        last = self._before[module].get(f"{module}.{mutation.id}", "")
        noticed = self._files.get(module, Counter())
        found = [[test for test in tests if test.name == last]]
        rest = [test for test in tests if test.name != last]
        names = {test.file for test in rest}
        own = sorted(name for name in names if path.stem in Path(name).stem.split("_"))
        own.sort(key=lambda name: -noticed[name])
        likely = [name for name, _ in noticed.most_common() if name in names and name not in own][:2]
        found += [[test for test in rest if test.file == name] for name in (*own, *likely)]
        others = [test for test in rest if test.file not in (*own, *likely)]
        near = list(dict.fromkeys(test.file for test in others))[:_OTHERS_MAX]
        found.append([test for test in others if test.file in near])
        return [stage for stage in found if stage]

    def learn(self, module: str, by: str) -> None:
        """Remember where a mutation was noticed."""
        if "::" in by:
            self._files.setdefault(module, Counter())[by.partition("::")[0]] += 1


def code_of(path: Path, mutation: Mutation) -> CodeType:
    """Return the code of a module with a fault in it."""
    tree = mutated(path.read_text(encoding="utf-8"), mutation, reasons())
    return compile(tree, str(path), "exec", dont_inherit=True)


def check_sound(tests: Sequence[Test], kept: Path) -> None:
    """Stop unless every test passes in such a run as it is: else nothing would be learnt from one that fails.

    Asked once for the same tests of the same code, which the names of the files in `kept` stand for.
    """
    known = [*(test.name for test in tests), *(file.name for file in sorted(kept.glob("*.json")))]
    mark = kept / f"sound-{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"
    if mark.is_file():
        return
    run = start("infoexchange", None, tests)
    _, status, usage = os.wait4(run.process, 0)
    outcome = run.outcome(status, usage)
    if outcome.killed:
        sys.exit(f"without any fault the tests already fail: {outcome.by}")
    mark.touch()


def report(console: Console, found: Sequence[Result], seconds: float, allowed: Mapping[str, str]) -> bool:
    """Print the table and the survivors, and write both down; return whether all is well."""
    names = list(dict.fromkeys(result.module for result in found))
    table = Table("module", "mutants", "killed", "%", "listed", "unlisted", "seconds each")
    well = True
    for name in names:
        mine = [result for result in found if result.module == name]
        alive = [result for result in mine if not result.outcome.killed]
        known = [result for result in alive if result.id in allowed]
        share = 1 - len(alive) / len(mine) if mine else 1.0
        well = well and share >= KILLED_MIN and len(known) == len(alive)
        each = sum(result.outcome.seconds for result in mine) / max(1, len(mine))
        numbers = (len(mine), len(mine) - len(alive), f"{100 * share:.1f}", len(known), len(alive) - len(known))
        table.add_row(name, *map(str, numbers), f"{each:.2f}")
    console.print(table)
    for result in found:
        if not result.outcome.killed and result.id not in allowed:
            console.print(f"{result.mutation.line}: {result.id}   ({result.tests} tests)", markup=False, soft_wrap=True)
    here = {result.id for result in found}
    alive_ids = {result.id for result in found if not result.outcome.killed}
    for name in allowed:
        if name in here and name not in alive_ids:
            console.print(f"listed, and killed now: {name}", markup=False, soft_wrap=True)
            well = False
    console.print(f"{len(found)} mutants in {seconds:.0f} s")
    return well


def written(module: str) -> dict[str, dict[str, object]]:
    """Return what earlier runs have found out about a module, by the names of its mutations."""
    file = BUILD / f"{module}.json"
    return {row["id"]: row for row in json.loads(file.read_bytes())} if file.is_file() else {}


def _write(module: str, path: Path, mine: Sequence[Result], allowed: Mapping[str, str]) -> None:
    if not mine:
        return
    rows = written(module)
    for result in mine:
        rows[result.id] = {
            "id": result.id,
            "line": result.mutation.line,
            "killed": result.outcome.killed,
            "by": result.outcome.by,
            "seconds": round(result.outcome.seconds, 3),
            "tests": result.tests,
            "reason": allowed.get(result.id, ""),
        }
    now = [f"{module}.{mutation.id}" for mutation in mutants_of(path)]
    BUILD.mkdir(parents=True, exist_ok=True)
    text = json.dumps([rows[name] for name in now if name in rows], indent=1)
    (BUILD / f"{module}.json").write_text(text, encoding="utf-8")


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="mutations whose name holds this text")
    parser.add_argument("--survivors", action="store_true", help="mutations that survived the last run")
    parser.add_argument("--sample", type=int, default=0, help="so many of them")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="which those are; printed")
    parser.add_argument("--list", action="store_true", help="print the mutations and run nothing")
    arguments = parser.parse_args()
    chosen = modules(arguments.modules)
    work = [(name, path, mutation) for name, path in chosen.items() for mutation in mutants_of(path)]
    work = [item for item in work if arguments.only in f"{item[0]}.{item[2].id}"]
    if arguments.survivors:
        alive = {i for name in chosen for i, row in written(name).items() if not row["killed"]}
        work = [item for item in work if f"{item[0]}.{item[2].id}" in alive]
    console = Console()
    if arguments.sample:
        console.print(f"{arguments.sample} of {len(work)}, seed {arguments.seed}")
        work = random.Random(arguments.seed).sample(work, min(arguments.sample, len(work)))  # noqa: S311  no secret
    if arguments.list:
        for name, _, mutation in work:
            console.print(f"{name}.{mutation.id}", markup=False, soft_wrap=True)
        return 0
    allowed = listed(LISTED.read_text(encoding="utf-8"))
    # Every run loads library and tests anew: compiled once, that takes a third of the time.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(BUILD / "compiled")
    preload()
    files = [f for f in sorted(TESTS.glob("test_*.py")) if f.stem.split("_")[1] in _FORMATS]
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: list[Result] = []
    begin = time.perf_counter()
    with Progress(*bar, console=console) as progress:
        task = progress.add_task("what tests run", total=len(files))
        tests = tests_of(files, BUILD / "lines", lambda name: progress.advance(task))
        selection = Selection(tests)
        check_sound(selection.of_all(work), BUILD / "lines")
        task = progress.add_task("mutants", total=len(work))
        begin = time.perf_counter()
        for result in results(work, selection, arguments.processes):
            found.append(result)
            if len(found) % 20 == 0 or len(found) == len(work):
                for name, path in chosen.items():
                    _write(name, path, [one for one in found[-20:] if one.module == name], allowed)
            count = sum(not result.outcome.killed for result in found)
            progress.update(task, advance=1, description=f"mutants, {count} alive")
            if not console.is_terminal and len(found) % 50 == 0:
                words = f"{len(found)} of {len(work)} mutants, {count} alive, {time.perf_counter() - begin:.0f} s"
                console.print(words)
    return 0 if report(console, found, time.perf_counter() - begin, allowed) else 1


if __name__ == "__main__":
    sys.exit(main())
