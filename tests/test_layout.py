"""The shape of the project: sizes, names, documentation and purity that import contracts cannot see."""

from __future__ import annotations

import ast
import fnmatch
import os
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from infoexchange import errors
from infoexchange.errors import ExchangeError, Reason

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]

LIBRARY = ROOT / "src" / "infoexchange"
GENERATED = (LIBRARY / "v1", LIBRARY / "catalogue" / "v1")
# Both limits make a reader's screen and memory the measure; beyond them a second idea is hiding in the piece.
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400
PARAMETERS_MAX = 6
# Names that say nothing about what a thing is.
BANNED_WORDS = re.compile(
    r"utils?|helpers?|common|base|manager|handler|service|impl|misc|provider|abstract",
)
# Modules that may touch the outside world; every other module of the library is core.
EDGES = frozenset(
    {
        *("__main__", "archive", "cli", "database", "exported", "testing", "home", "hsm"),
        *("spool", "stash", "step_table", "transport", "tsa", "v1"),
    }
)
# Built-in functions that reach the outside world without any import.
OUTWARD_BUILTINS = frozenset({"open", "print", "input", "breakpoint"})
TOP_FOLDERS = frozenset({"proto", "src", "relay", "tests", "docs", "bench", "tools", ".ci"})
# Slow or heavy; an embedder pays for them only when it uses what needs them.
NOT_AT_IMPORT = ("grpc", "structlog", "rich", "protovalidate", "pkcs11", "rfc3161_client", "yaml")

type_of_function = ast.FunctionDef | ast.AsyncFunctionDef


def hand_written(*folders: str) -> list[Path]:
    """Every Python file below the folders that a person wrote."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(path.is_relative_to(generated) for generated in GENERATED)]


CODE = hand_written("src", "relay", "tools")
EVERYTHING = hand_written("src", "relay", "tools", "tests", "bench")
PARSED = {path: ast.parse(path.read_text(encoding="utf-8")) for path in EVERYTHING}


def place(path: Path, line: int = 1) -> str:
    """Where, in a form that editors can follow."""
    return f"{path.relative_to(ROOT)}:{line}"


def functions(path: Path) -> list[type_of_function]:
    return [node for node in ast.walk(PARSED[path]) if isinstance(node, type_of_function)]


def contract(name: str) -> dict[str, Any]:
    (found,) = (contract for contract in CONTRACTS if contract["name"] == name)
    return found


def core_modules() -> list[str]:
    return contract("The core touches no network, disk, clock, thread or log")["source_modules"]


def core_files() -> list[Path]:
    """The files of the modules that the purity contract names."""
    places = [ROOT / "src" / name.replace(".", "/") for name in core_modules()]
    return [p for p in CODE if any(p == c.with_suffix(".py") or p.is_relative_to(c) for c in places)]


def test_there_is_something_to_check():
    assert LIBRARY / "errors.py" in CODE
    assert core_files()


def test_functions_are_short():
    lengths = [(f.end_lineno - f.lineno + 1, place(p, f.lineno), f.name) for p in EVERYTHING for f in functions(p)]
    assert not [found for found in lengths if found[0] > FUNCTION_LINES_MAX]


def test_modules_are_short():
    lengths = [(len(path.read_text(encoding="utf-8").splitlines()), place(path)) for path in EVERYTHING]
    assert not [found for found in lengths if found[0] > MODULE_LINES_MAX]


def test_functions_take_few_parameters():
    crowded = []
    for path in CODE:
        for function in functions(path):
            spec = function.args
            names = [a.arg for a in (*spec.posonlyargs, *spec.args, spec.vararg, *spec.kwonlyargs, spec.kwarg) if a]
            counted = names[1:] if names[:1] in (["self"], ["cls"]) else names
            if len(counted) > PARAMETERS_MAX:
                crowded.append((len(counted), place(path, function.lineno), function.name))
    assert not crowded


def undocumented(path: Path, node: ast.AST, inside: str = "") -> list[str]:
    """Public classes and functions below a node that have no docstring."""
    found = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, *type_of_function.__args__)) or child.name.startswith("_"):
            continue
        # The first of several definitions carries the words; what overrides is described where it is first promised.
        marks = {ast.unparse(mark).rsplit(".", 1)[-1] for mark in child.decorator_list}
        if not ast.get_docstring(child) and not marks & {"overload", "override", "setter", "deleter"}:
            found.append(f"{place(path, child.lineno)} {inside}{child.name}")
        if isinstance(child, ast.ClassDef):
            found += undocumented(path, child, f"{child.name}.")
    return found


def test_every_public_name_is_documented():
    found = [place(path) for path in CODE if not ast.get_docstring(PARSED[path])]
    found += [name for path in CODE for name in undocumented(path, PARSED[path])]
    assert not found


def words(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in small letters."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def test_words_are_found_in_both_spellings():
    assert words("MessageManager") == words("message_manager") == ["message", "manager"]
    assert words("GRPCService") == ["grpc", "service"]


def test_no_module_or_class_has_an_empty_name():
    found = []
    for path in EVERYTHING:
        names = [path.stem, path.parent.name]
        names += [node.name for node in ast.walk(PARSED[path]) if isinstance(node, ast.ClassDef)]
        found += [f"{place(path)} {name}" for name in names if BANNED_WORDS.fullmatch(words(name)[-1])]
    assert not found


def test_the_core_calls_no_builtin_that_reaches_outside():
    found = [
        f"{place(path, node.lineno)} {node.func.id}"
        for path in core_files()
        for node in ast.walk(PARSED[path])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OUTWARD_BUILTINS
    ]
    assert not found


def test_every_module_is_core_or_a_named_edge():
    """A new module must be put under the purity contract, or be called an edge here."""
    modules = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in CODE if path.is_relative_to(LIBRARY)}
    core = {name.removeprefix("infoexchange.") for name in core_modules()}
    assert modules - {"__init__"} - EDGES <= core
    assert not core & EDGES


def test_only_named_modules_use_primitives():
    """What the primitives contract leaves out of the core is exactly the three modules meant."""
    primitives = set(contract("Primitives are called in one place")["source_modules"])
    exempt = {"infoexchange.suites", "infoexchange.keys", "infoexchange.certificates"}
    assert primitives == (set(core_modules()) - exempt) | {"infoexchange.transport"}


def test_no_contract_has_an_ignore_list():
    assert not [contract["name"] for contract in CONTRACTS for key in contract if "ignore" in key]


def test_top_level_folders():
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    found = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".git"}
    assert {name for name in found if not any(fnmatch.fnmatch(name, rule) for rule in ignored)} <= TOP_FOLDERS


def test_packages_are_where_they_belong():
    assert {path.parent.relative_to(ROOT).parts[:2] for path in CODE if path.name == "__init__.py"} <= {
        ("src", "infoexchange"),
        ("relay", "infoexchange_relay"),
    }


def test_import_is_light():
    program = f"import sys, infoexchange; print([name for name in {NOT_AT_IMPORT!r} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.word)
def test_every_reason_has_a_class_and_a_next_step(reason: Reason):
    raised = errors.error(reason, field="field", detail="detail")
    assert isinstance(raised, ExchangeError)
    assert type(raised) is not ExchangeError
    assert errors.NEXT_STEPS[reason].endswith(".")
    assert reason.word in str(raised)
    assert "detail" in str(raised)
    copy = pickle.loads(pickle.dumps(raised))
    assert (type(copy), copy.args, copy.next_step) == (type(raised), raised.args, raised.next_step)


def test_the_tables_name_no_other_reason():
    assert set(errors.NEXT_STEPS) == set(Reason)


def test_every_dependency_has_its_reason():
    """The page of decisions and the project file speak of the same packages."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(item for part in (*extras, *groups) for item in part)]
    page = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE))
    assert described == {re.split(r"[<>=!~\[; ]", requirement)[0] for requirement in wanted}
