"""Plots: bars as inline SVG; each says in words what it shows, and a table beside it has the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.cli.pages.elements import Element, element

# Implementation constants: sizes in units of the drawing, which scales with the page
_WIDTH, _LABEL, _NUMBER = 640, 170, 60
_ROW, _BAR = 24, 16
_COLUMNS_HEIGHT, _COLUMNS_FOOT = 140, 22
_LABELS_MAX = 4  # dates below a row of columns
_DATE = 90  # width of one
_LETTERS_MAX = 24  # of a label; the table has it whole


def bars(name: str, title: str, numbers: Sequence[tuple[str, int]]) -> Element | None:
    """Return horizontal bars, one for each number; nothing where there is none."""
    if not numbers:
        return None
    height = _ROW * len(numbers)
    scale = (_WIDTH - _LABEL - _NUMBER) / max(1, *(count for _, count in numbers))
    shapes = []
    for place, (label, count) in enumerate(numbers):
        top = place * _ROW
        text = str(top + _ROW // 2 + 5)
        shapes += [
            element("text", _short(label), x=str(_LABEL - 8), y=text, class_="label"),
            element("rect", x=str(_LABEL), y=str(top + 4), width=_units(count * scale), height=str(_BAR)),
            element("text", f"{count}", x=_units(_LABEL + count * scale + 6), y=text),
        ]
    told = "; ".join(f"{label}: {count}" for label, count in numbers)
    return _drawing(name, title, told, height, shapes)


def columns(name: str, title: str, numbers: Sequence[tuple[str, int]]) -> Element | None:
    """Return upright columns in the order given, such as one for each day; nothing where there are fewer than two."""
    if len(numbers) < 2:
        return None
    top = max(1, *(count for _, count in numbers))
    step = _WIDTH / len(numbers)
    shapes = []
    every = max(1, -(-len(numbers) // _LABELS_MAX))
    for place, (label, count) in enumerate(numbers):
        tall = count * (_COLUMNS_HEIGHT - 16) / top
        x = place * step
        shapes.append(
            element(
                "rect",
                x=_units(x + step * 0.1),
                y=_units(_COLUMNS_HEIGHT - tall),
                width=_units(step * 0.8),
                height=_units(tall),
            )
        )
        if place % every == 0 and x + _DATE <= _WIDTH:
            shapes.append(element("text", label, x=_units(x + step * 0.1), y=str(_COLUMNS_HEIGHT + 16)))
    foot = str(_COLUMNS_HEIGHT)
    shapes.append(element("line", x1="0", y1=foot, x2=str(_WIDTH), y2=foot))
    shapes.append(element("text", f"highest: {top}", x=str(_WIDTH), y="12", class_="label"))
    first, last = numbers[0], numbers[-1]
    told = f"{len(numbers)} columns from {first[0]} ({first[1]}) to {last[0]} ({last[1]}); the highest is {top}."
    return _drawing(name, title, told, _COLUMNS_HEIGHT + _COLUMNS_FOOT, shapes)


def _drawing(name: str, title: str, told: str, height: int, shapes: Sequence[Element]) -> Element:
    drawing = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", told, id=f"{name}-told"),
        shapes,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_labelledby=f"{name}-title {name}-told",
    )
    return element("figure", element("figcaption", title), drawing)


def _short(label: str) -> str:
    return label if len(label) <= _LETTERS_MAX else f"{label[: _LETTERS_MAX - 1]}\N{HORIZONTAL ELLIPSIS}"


def _units(value: float) -> str:
    return f"{value:.1f}"
