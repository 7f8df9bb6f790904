"""Mutant tests: which tests run a line of the library, and how they end when a fault is in it.

Each run is a fork of one process that has imported everything but the library and its tests, so that nothing learnt
from sound code is left in a run with a fault. A run ends at the first test that fails.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TESTS = ROOT / "src", ROOT / "tests"
# Generated code cannot be loaded twice, and no fault is put into it.
_KEPT = re.compile(r"infoexchange\.(catalogue\.)?v1(\.|$)")
_OURS = re.compile(r"infoexchange(_relay)?(\.|$)")
_OPTIONS = (
    "-qx", "--tb=no", "--no-summary", "--hypothesis-seed=0", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # plugins are loaded once for all runs
)  # fmt: skip
_MEMORY_MAX = 4 << 30  # bytes of address space: a fault may build a list without end
_SECONDS_MIN = 4  # of the processor: loading the library takes one of them
_FILE_SECONDS = (
    6  # of the processor for each test file: to load it, to collect a thousand tests and to make their world
)
_TEST_SECONDS = 0.05  # of the processor for each test, however short: what pytest does around it
PATIENCE = 4  # times as long for a run that was ended: a busy machine is slow, a loop without end stays one
_LOADED = "\x00loaded"  # the lines that run when a module is loaded


@dataclass(frozen=True)
class Test:
    """A test: its name, how long it takes, and the lines of the library it runs, by file."""

    name: str
    seconds: float
    lines: Mapping[str, frozenset[int]]

    @property
    def file(self) -> str:
        """The test file."""
        return self.name.partition("::")[0]


@dataclass(frozen=True)
class Outcome:
    """How the tests ended.

    Attributes:
        killed: Whether the fault was noticed.
        by: The test that noticed it, or `timeout`, `crash` or `loading`.
        seconds: How long it took the processor, which others may keep busy too.
    """

    killed: bool
    by: str
    seconds: float


def preload() -> None:
    """Import what every run needs, and forget the library again."""
    sys.path[:0] = [str(SOURCE), str(ROOT / "relay"), str(TESTS)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])
    for name in ("_hypothesis_pytestplugin", "pytest_cov.plugin", "pytest_timeout", "coverage"):
        import_module(name)
    # An example that fails is enough: nobody reads the smallest one, and nothing is kept.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases, database=None)
    hypothesis.settings.load_profile("mutants")
    import_module("infoexchange.testing")
    for path in sorted((SOURCE / "infoexchange" / "v1").glob("*_pb2.py")):
        import_module(f"infoexchange.v1.{path.stem}")
    for name in [name for name in sys.modules if _OURS.match(name) and not _KEPT.match(name)]:
        del sys.modules[name]


# Which tests run which lines


class _Recorder:
    """A pytest plugin that notes the lines each test runs, those of wider fixtures for every test that uses them."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._now = _LOADED
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, list[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = item.nodeid
        self._coverage.switch_context(item.nodeid)
        begin = time.process_time()  # what keeps the processor busy beside it is none of the test's
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - begin
            self.fixtures[item.nodeid] = [f"fixture {name}" for name in getattr(item, "fixturenames", ())]
            self._now = _LOADED
            self._coverage.switch_context(_LOADED)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[object]:
        wide = fixturedef.scope != "function"
        if wide:
            self._coverage.switch_context(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            if wide:
                self._coverage.switch_context(self._now)  # the test that asked for it goes on


def tests_of(files: Sequence[Path], cache: Path, progress: Callable[[str], None]) -> list[Test]:
    """Return the tests of some files with the lines they run; what has not changed is not measured again."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for file in files:
        progress(file.name)
        kept = cache / f"{file.stem}-{_fingerprint(file)}.json"
        if not kept.is_file():
            for old in cache.glob(f"{file.stem}-*.json"):
                old.unlink()
            _in_child(functools.partial(_measure, file, kept), seconds=600)
            if not kept.is_file():
                sys.exit(f"{file.name} does not pass as it is; see: python -m pytest {file}")
        for test in json.loads(kept.read_bytes()):
            lines = {name: frozenset(numbers) for name, numbers in test["lines"].items()}
            found.append(Test(test["name"], test["seconds"], lines))
    return found


def _measure(file: Path, kept: Path) -> int:
    """Run one test file and write down what its tests run."""
    import coverage

    recorded = coverage.Coverage(data_file=None, include=[f"{SOURCE}/*"], config_file=False)
    recorded.start()
    recorded.switch_context(_LOADED)
    recorder = _Recorder(recorded)
    ended = pytest.main([*_OPTIONS, str(file)], plugins=[recorder])
    recorded.stop()
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 1
    by_context: dict[str, dict[str, set[int]]] = {}
    data = recorded.get_data()
    for name in data.measured_files():
        for line, contexts in data.contexts_by_lineno(name).items():
            for context in contexts:
                by_context.setdefault(context, {}).setdefault(str(Path(name).relative_to(SOURCE)), set()).add(line)
    tests = []
    for name, seconds in recorder.seconds.items():
        lines: dict[str, set[int]] = {}
        for context in (name, *recorder.fixtures[name]):
            for path, numbers in by_context.get(context, {}).items():
                lines.setdefault(path, set()).update(numbers)
        tests.append({"name": name, "seconds": seconds, "lines": {p: sorted(n) for p, n in lines.items()}})
    temporary = kept.with_suffix(".new")
    temporary.write_text(json.dumps(tests), encoding="utf-8")
    temporary.replace(kept)
    return 0


@functools.cache
def _common_fingerprint() -> bytes:
    digest = hashlib.sha256(sys.version.encode())
    helpers = (path for path in TESTS.glob("*.py") if not path.name.startswith("test_"))
    for path in (*sorted(SOURCE.rglob("*.py")), *sorted(helpers)):
        digest.update(path.read_bytes())
    return digest.digest()


def _fingerprint(file: Path) -> str:
    """Return a name for what a test file is and rests on."""
    digest = hashlib.sha256(_common_fingerprint())
    seen: set[str] = set()
    waiting = [file.stem]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            text = (TESTS / f"{name}.py").read_bytes()
            digest.update(text)
            waiting += sorted(found.decode() for found in re.findall(rb"^from (test_\w+) import", text, re.MULTILINE))
    return digest.hexdigest()[:16]


# A run with a fault


@dataclass(frozen=True)
class Running:
    """A run that has not ended."""

    process: int
    result: int
    deadline: float

    def outcome(self, status: int, usage: resource.struct_rusage) -> Outcome:
        """Return how it ended, once the process has."""
        with os.fdopen(self.result, "rb") as pipe:
            by = pipe.read().decode()
        seconds = usage.ru_utime + usage.ru_stime
        if os.WIFSIGNALED(status):
            late = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
            return Outcome(True, "timeout" if late else "crash", seconds)
        killed = os.waitstatus_to_exitcode(status) != 0
        return Outcome(killed, by or "loading" if killed else "", seconds)


def start(module: str, code: CodeType | None, tests: Sequence[Test], patience: int = 1) -> Running:
    """Start a run of tests, in their order, with another code for a module; with none, as it is.

    `patience` times as long may it take as the tests took when they were measured, with what loading needs.
    """
    reading, writing = os.pipe()
    allowed = sum(test.seconds for test in tests)
    loading = _SECONDS_MIN + _FILE_SECONDS * len({test.file for test in tests}) + _TEST_SECONDS * len(tests)
    process = os.fork()
    if process == 0:
        os.close(reading)
        _become_child(patience * int(loading + 4 * allowed))
        try:
            ended = _run(module, code, tests, writing)
        except BaseException:  # noqa: BLE001  a fault may raise anything while the library is loaded
            ended = 1
        os._exit(ended)
    os.close(writing)
    return Running(process, reading, time.perf_counter() + patience * (60 + 20 * (loading + allowed)))


def _run(module: str, code: CodeType | None, tests: Sequence[Test], writing: int) -> int:
    if code is not None:
        sys.meta_path.insert(0, _Finder(module, code))
    chosen = _Chosen({test.name: place for place, test in enumerate(tests)}, writing)
    files = dict.fromkeys(str(ROOT / test.file) for test in tests)
    return int(pytest.main([*_OPTIONS, *files], plugins=[chosen]))


class _Chosen:
    """A pytest plugin that runs the chosen tests only, in their order, and says which failed."""

    def __init__(self, places: Mapping[str, int], writing: int) -> None:
        self._places = places
        self._writing = writing

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self._places), key=lambda i: self._places[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self._writing, report.nodeid.encode())


class _Finder(importlib.abc.MetaPathFinder):
    """Gives one module another code."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module = module
        self._code = code

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._code)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


def _become_child(seconds: int) -> None:
    """Bound a child's processor time and memory, and silence it."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX, _MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()


def _in_child(work: Callable[[], int], *, seconds: int) -> None:
    """Do something in a fork, and wait for it."""
    process = os.fork()
    if process == 0:
        _become_child(seconds)
        ended = 1
        with contextlib.suppress(BaseException):
            ended = work()
        os._exit(ended)
    os.waitpid(process, 0)
