"""The tool that puts faults into the verifying code: which faults, where none, and that a test's failure counts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import mutants
import mutations
import pytest

REASONS = ["MALFORMED", "BAD_FIELD", "TOO_LARGE"]
TOOLS = Path(mutants.__file__).resolve().parent


def changed(source: str) -> set[str]:
    """Every mutated form of one statement in a function."""
    text = f"def f(a, b, c):\n    {source}\n"
    forms = [mutations.mutated(text, mutation, REASONS) for mutation in mutations.mutations(text, REASONS)]
    return {ast.unparse(form.body[0].body).strip() for form in forms}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a >= b", {"a > b", "a < b"}),
        ("a == b", {"a != b"}),
        ("a in b", {"a not in b"}),
        ("a < b <= c", {"a <= b <= c", "a >= b <= c", "a < b < c", "a < b > c"}),
        ("a and b", {"a or b", "a", "b"}),
        ("a or b or c", {"a and b and c", "b or c", "a or c", "a or b"}),
        ("not a", {"a"}),
        ("a + b", {"a - b"}),
        ("a << b", {"a >> b"}),
        ("a[b:c]", {"a[:c]", "a[b:]"}),
        ("a if b else c", {"c if b else a"}),
        ("a = 0", {"a = 1"}),
        ("a = 5", {"a = 6", "a = 4"}),
        ("a = True", {"a = False"}),
        ("a = 'x'", {"a = 'xX'"}),
        ("a = b'x'", {"a = b'xX'"}),
        ("a = f'{b}:{c}'", {"a = f'{b}:X{c}'"}),
        ("a += b", {"a -= b"}),
        ("a(b)", {"pass"}),
        ("return a", {"return None"}),
        ("[x for x in a if b if c]", {"[x for x in a if b]", "[x for x in a if c]"}),
        ("a = (ValueError, KeyError)", {"a = (ValueError,)", "a = (KeyError,)"}),
        ("if a:\n        b = c", {"if not a:\n    b = c"}),
        ("while a:\n        break", {"while not a:\n    break", "while a:\n    continue"}),
        ("raise error(Reason.MALFORMED, field='x')", {"pass", "raise error(Reason.BAD_FIELD, field='x')"}),
        ("raise error(Reason.TOO_LARGE) from None", {"pass", "raise error(Reason.MALFORMED) from None"}),
        ("raise ValueError(f'{a + 1}')", {"pass"}),
    ],
)
def test_the_faults(source: str, expected: set[str]) -> None:
    assert changed(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "a: int",
        "detail = f'{a} of {b}'",
        "a = error(b, field='x', detail='y' + 'z', next_step='w')",
        "a = TypeVar('T', bound=int)",
        "import a",
        "return",
        "return None",
    ],
)
def test_where_there_is_none(source: str) -> None:
    assert not changed(source) & {"pass"}
    assert changed(source) == set()


def test_a_text_that_is_an_argument_of_our_own_function_is_a_text() -> None:
    source = "def _bad(where, size): return error(Reason.MALFORMED, field=where)\ndef g(): return _bad('a.b', 7)\n"
    labels = [mutation.label for mutation in mutations.mutations(source, REASONS)]
    assert not [label for label in labels if "a.bX" in label]
    assert [label for label in labels if "[7 -> 8]" in label]


def test_a_fault_has_a_name_that_stays_when_lines_move() -> None:
    source = (
        "LIMIT = 4\n\nclass A:\n    @property\n    def b(self, c: int = 3) -> int:\n        return c < 2 and c < 2\n"
    )
    found = mutations.mutations(source, REASONS)
    names = [mutation.id for mutation in found]
    assert len(set(names)) == len(names)
    assert "LIMIT = [4 -> 5]" in names
    assert "A.b: def b(self, c: int=[3 -> 4])" in names
    assert "A.b: return c < [2 -> 3] and c < 2" in names
    assert [m.id for m in mutations.mutations("\n\n# moved\n" + source, REASONS)] == names
    constant, default = (next(m for m in found if m.label.startswith(word)) for word in ("LIMIT", "def"))
    assert (constant.name, default.name, default.body) == ("LIMIT", "", (5, 6))


def test_every_module_that_verifies_is_there() -> None:
    found = mutants.modules([])
    assert {"wire", "dsse", "manifest", "tlog.merkle", "tlog.policy"} <= set(found)
    assert all(path.is_file() for path in found.values())
    assert len(mutants.reasons()) > 20
    with pytest.raises(SystemExit, match="no module nothing"):
        mutants.modules(["nothing"])


def test_the_list_gives_reasons() -> None:
    text = "# comment\n\nwire.parse: [a -> b]\n  Because of this\n  and that.\nwire.parse: [c -> d]\n  It too.\n"
    assert mutants.listed(text) == {
        "wire.parse: [a -> b]": "Because of this and that.",
        "wire.parse: [c -> d]": "It too.",
    }
    with pytest.raises(ValueError, match="no reason"):
        mutants.listed("wire.parse: [a -> b]\nwire.parse: [c -> d]\n  It.\n")
    with pytest.raises(ValueError, match="twice"):
        mutants.listed("wire.parse: [a -> b]\n  It.\nwire.parse: [a -> b]\n  It.\n")


def test_what_is_listed_is_still_a_fault_that_can_be_made() -> None:
    allowed = mutants.listed(mutants.LISTED.read_text(encoding="utf-8"))
    assert allowed
    modules = mutants.modules([])
    known = {
        f"{name}.{mutation.id}"
        for name, path in modules.items()
        if any(listed.startswith(f"{name}.") for listed in allowed)
        for mutation in mutants.mutants_of(path)
    }
    assert set(allowed) - known == set()


def test_a_fault_is_noticed_and_sound_code_passes() -> None:
    """In a process of its own, because the tool forks before the library is loaded."""
    program = """
import json, os, sys
import mutant_tests, mutants
mutant_tests.preload()
mutant_tests._SECONDS_MIN, mutant_tests._FILE_SECONDS = 2, 1
path = mutants.PACKAGE / "wire.py"
names = ("test_records_are_exact_slices", "test_sizes")
test, lengths = (mutant_tests.Test(f"tests/test_wire.py::{name}", 0.1, {}) for name in names)
fault = next(m for m in mutants.mutants_of(path) if m.function == "check_size" and "pass]" in m.label)
outcomes = []
for code, tests in (
    (None, [test, lengths]),
    (mutants.code_of(path, fault), [test, lengths]),
    (compile("1 / 0", str(path), "exec"), [lengths]),
    (compile("while True: pass", str(path), "exec"), [lengths]),
):
    run = mutant_tests.start("infoexchange.wire", code, tests)
    _, status, usage = os.wait4(run.process, 0)
    outcome = run.outcome(status, usage)
    outcomes.append((outcome.killed, outcome.by))
print(json.dumps(outcomes))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=TOOLS, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        [False, ""],
        [True, "tests/test_wire.py::test_sizes"],
        [True, "loading"],
        [True, "timeout"],
    ]
