"""Page: docs/attacks.md, written from the table; `python -m attacks.page` in the folder of the tests writes it anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from attacks import catalog
from attacks.table import EVERY, HARMLESS, LIMITS, NOTHING, PASSES, Adversary, Answer, Attack, Judge, Note
from infoexchange.errors import Reason

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
HEAD = """\
# Attacks, and who refuses them

What a hostile relay, a hostile agency and a hostile fellow recipient can try, and the answer of everybody who meets it.
Everybody but the adversary keeps the rules; whoever is not in a row does not meet that attack. Every row is tried with
real keys and real messages in every suite, the national example among them, and on every kind of envelope that is
named: sealed for a *single* recipient, for *several*, signed in a *batch*, under an *epoch KEK*, or for *blind*
recipients. The tests compare this page with the code; `python -m attacks.page` in `tests/` writes it anew.

The answers are the reasons of `proto/SPEC.md`. Others are: *passes*, where the position cannot show it and another one
does; *nothing new*, where everything stays as it was: nothing is logged, handed out or believed besides; and, in
quotes, the word with which an auditor leaves a question open.
"""
TITLES = {
    Adversary.RELAY: (
        "A hostile relay",
        "It holds its own log keys and everything that passes through it, and no key that signs or opens an envelope.",
    ),
    Adversary.AGENCY: (
        "A hostile agency",
        "It holds its own identity and epoch keys, and sometimes those it stole. Its library checks nothing.",
    ),
    Adversary.FELLOW: (
        "A hostile fellow recipient",
        "It was sent the envelope, opened it rightly, and holds its content key besides its own keys.",
    ),
}


def page() -> str:
    """The text of the page."""
    attacks = catalog.every()
    parts = [HEAD]
    for adversary, (title, holds) in TITLES.items():
        rows = [row(attack) for attack in attacks if attack.adversary is adversary]
        head = "| Attack | What is tried | On | Answers |\n|---|---|---|---|"
        parts.append(f"## {title}\n\n{holds} {len(rows)} attacks.\n\n" + "\n".join([head, *rows]) + "\n")
    parts.append(_notes("What may change", "Nobody refuses these, because they change nothing.", HARMLESS))
    parts.append(_notes("What nobody refuses", "Neither relay nor recipient can; what shows it is said.", LIMITS))
    return "\n".join(parts)


def _notes(title: str, words: str, notes: Sequence[Note]) -> str:
    rows = [f"| {note.name} | {note.words} |" for note in notes]
    return f"## {title}\n\n{words}\n\n" + "\n".join(["| | |\n|---|---|", *rows]) + "\n"


def row(attack: Attack) -> str:
    """One line of the table."""
    kinds = "every kind" if tuple(attack.kinds) == EVERY else ", ".join(kind.value for kind in attack.kinds)
    answers = said(attack.answers)
    for kind, others in attack.otherwise.items():
        answers += f"; {kind.value}: {said(others)}"
    return f"| {attack.name} | {attack.words} | {kinds} | {answers} |"


def said(answers: Mapping[Judge, Answer]) -> str:
    """Who answers what, those with one answer together."""
    order = list(dict.fromkeys(answers.values()))
    order.sort(key=lambda answer: (answer in (PASSES, NOTHING), -Counter(answers.values())[answer]))
    return "; ".join(
        f"{', '.join(j.value for j in answers if answers[j] == answer)} {word(answer)}" for answer in order
    )


def word(answer: Answer) -> str:
    """An answer as the page writes it."""
    if isinstance(answer, Reason):
        return f"`{answer.word}`"
    return f"*{answer}*" if answer in (PASSES, NOTHING) else f'"{answer}"'


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
