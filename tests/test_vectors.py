"""Every vector gives its outcome, and together they leave out no reason and no step of the specification."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

import vectors
from infoexchange.errors import Reason
from making.__main__ import main
from vectors import ENTRIES, FOLDER, SUMS, Vector

ALL = vectors.load()
SPEC = (FOLDER.parent / "SPEC.md").read_text("utf-8")
LEAST = 300  # fewer would mean that a folder was not packed or not found


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.name)
def test_outcome(vector: Vector) -> None:
    assert vector.outcome() == vector.headers["expect"], vector.headers["comment"]


def test_there_are_enough_and_each_is_read_whole() -> None:
    assert len(ALL) >= LEAST
    files = {path.name for path in FOLDER.iterdir()} - {"README.md", SUMS, "parts", "world"}
    assert files == {f"{vector.name}.txt" for vector in ALL}
    for vector in ALL:
        assert vector.text == (FOLDER / f"{vector.name}.txt").read_text("utf-8")


def test_nobody_has_changed_one() -> None:
    assert (FOLDER / SUMS).read_text("ascii") == vectors.sums()


def test_every_part_and_every_world_is_used() -> None:
    text = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.txt"))
    for kind in ("part", "world"):
        names = {path.stem for path in FOLDER.glob("parts/*" if kind == "part" else "world/*")}
        assert names == set(re.findall(rf"^{kind}:? (.+)$", text, re.MULTILINE))


def test_vectors_are_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", None)
    assert main() == 1


def test_every_reason_and_every_entry_has_one() -> None:
    assert {vector.headers["expect"] for vector in ALL} >= {reason.word for reason in Reason}
    assert {vector.headers["entry"] for vector in ALL} == set(ENTRIES)


def test_every_step_is_passed_by_one_and_refused_by_another() -> None:
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", SPEC, re.MULTILINE | re.DOTALL))
    steps = {
        (name, int(number))
        for name, text in sections.items()
        if name not in TESTED_ELSEWHERE
        for number in re.findall(r"^- \*\*\((\d+)\)\*\* ", text, re.MULTILINE)
    }
    furthest: dict[str, int] = defaultdict(int)
    refused: set[tuple[str, int]] = set()
    for vector in ALL:
        name, _, number = vector.headers.get("step", "").rpartition(" ")
        if not name:
            continue
        assert (name, int(number)) in steps, vector.name
        if vector.headers["expect"] == "ok":
            furthest[name] = max(furthest[name], int(number))
        else:
            refused.add((name, int(number)))
    assert sorted(steps - refused) == sorted(NOT_REFUSING)
    assert {(name, number) for name, number in steps if furthest[name] < number} <= NOT_REFUSING


# What is read from a folder, compares several logs or messages, is posted to a witness, or is judged with keys that are
# no part of it needs more than a file; its own tests pass and refuse every step.
TESTED_ELSEWHERE = {"Closing a log", "Continuity", "Log folder", "Misbehaviour", "Reconciliation", "Submission"}
TESTED_ELSEWHERE |= {"Pouch", "Timestamps"}
# Steps that refuse nothing that comes from outside.
NOT_REFUSING = {
    ("Log before act", 2),  # says what is signed and when
    ("Log before act", 4),  # says who is answered and when
    ("Relay", 11),  # says what is written
    ("Rotation", 1),  # says what the owner of secrets does
    ("Rotation", 2),
    ("Witnesses", 2),  # another size is answered with the size, `witness-ok-behind`
    ("Witnesses", 4),  # says what is remembered before the answer
    ("Witnesses", 5),  # says what the answer is
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "expect: ok\nentry: header.parse\n",
        "expect: fine\nentry: header.parse\n\nAA==\n",
        "expect: ok\nentry: header.guess\n\nAA==\n",
        "expect: ok\nentry: header.parse\nnew: 1\n\nAA==\n",
        "expect: ok\nexpect: ok\nentry: header.parse\n\nAA==\n",
        "expect: ok\nentry: header.parse\n\nA===\n",
        "expect: ok\nentry: header.parse\n\npart none\n",
        "expect: ok\nentry: header.parse\n\nones 3\n",
        "entry: header.parse\n\nAA==\n",
    ],
)
def test_a_file_of_another_form_is_no_vector(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        Vector.parse("x", text)


def test_an_empty_folder_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="no vector"):
        vectors.load()
