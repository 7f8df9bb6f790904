"""Type reference: a page for each domain with its message types, their fields, rules, lists and examples.

Writes docs/types/ from the schemas and the example files; with --check, only says whether it is up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from infoexchange import catalogue
from infoexchange.catalogue import codes, examples, reference, schema, yaml_text

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "types"
_NOTE = "Made by `python tools/type_reference.py` from the schemas; a test fails when it is not up to date.\n"
_VALUES_MAX = 100  # of a list; what is longer is published by its source
_FLOW = "flow"


def pages() -> dict[str, str]:
    """Return every page by its name."""
    domains: dict[str, list[str]] = {}
    for row in reference.types():
        domains.setdefault(row.domain.lower() if row.domain.isupper() else _FLOW, []).append(row.name)
    found = {f"{domain}.md": "\n".join(_domain(domain, names)) for domain, names in domains.items()}
    found["parts.md"] = "\n".join(_parts())
    found["codes.md"] = "\n".join(_codes())
    found["README.md"] = "\n".join(_index(domains))
    return found


def _index(domains: dict[str, list[str]]) -> Iterator[str]:
    yield f"# Message types\n\n{_NOTE}"
    yield "`infoexchange types` shows the same at a terminal, and `infoexchange new TYPE` writes a form to fill in.\n"
    meanings = {row.name: row.meaning for row in reference.types()}
    for domain in sorted(domains):
        yield f"## [{_title(domain)}]({domain}.md)\n"
        yield from (f"- [{name}]({domain}.md#{name.lower()}): {meanings[name]}" for name in domains[domain])
        yield ""
    yield "What several types have in common: [parts](parts.md). Values: [code lists](codes.md).\n"


def _title(domain: str) -> str:
    return "Flow: messages of every domain" if domain == _FLOW else domain.replace("_", " ").capitalize()


def _domain(domain: str, names: Iterable[str]) -> Iterator[str]:
    yield f"# {_title(domain)}\n\n{_NOTE}"
    for name in names:
        yield from _type(name)
        written = yaml_text.to_yaml(examples.message(name))
        yield f"Example:\n\n```yaml\n{written}```\n"


def _type(name: str) -> Iterator[str]:
    yield f"## {name}\n\n{schema.words(name).doc}\n"
    yield "| field | holds | | limits | meaning |\n|---|---|---|---|---|"
    parts = {field.name: field for field in reference.descriptor(name).fields}
    for row in reference.fields(name, depth=1):
        field = parts[row.path.removesuffix("[]")]
        kind = schema.kind_of(field)
        if schema.is_ours(field) and not schema.is_decimal(field):
            kind = f"[{kind}](parts.md#{kind.lower()})"
        cells = (f"`{row.path}`", kind, "required" if row.required else "", "; ".join(row.limits), row.meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for rule in reference.rules(name):
        yield f"- Rule: {rule}."
    listed = [schema.list_of(field) for field in parts.values()]
    for found in (one for one in listed if one):
        yield f"- List: [{found.name}](codes.md#{found.name}), version {found.version}."
    yield ""


def _parts() -> Iterator[str]:
    yield f"# Parts\n\nWhat several message types have in common. {_NOTE}"
    names: set[str] = set()
    for cls in catalogue.schemas().values():
        _collect(cls.DESCRIPTOR, names)
    for name in sorted(names - {row.name for row in reference.types()}):
        yield from _type(name)


def _collect(descriptor: object, names: set[str]) -> None:
    names.add(descriptor.name)  # type: ignore[attr-defined]
    for field in descriptor.fields:  # type: ignore[attr-defined]
        if schema.is_ours(field) and field.message_type.name not in names:
            _collect(field.message_type, names)


def _codes() -> Iterator[str]:
    yield f"# Code lists\n\n{_NOTE}"
    yield (
        "An agency adds lists of its own, newer versions or more values as CSV files in the folder `codes` of its\n"
        "home: first line list, version, source; second line columns, the first of which is `value`. A program calls\n"
        "`infoexchange.catalogue.codes.add(lines)`.\n"
    )
    for name in codes.names():
        found = codes.load(name)
        yield f"## {name}\n\nVersion {found.version}, {len(found.rows)} values. Source: {found.source}.\n"
        if len(found.rows) <= _VALUES_MAX:
            columns = tuple(next(iter(found.rows.values())))
            yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
            yield from (f"| {' | '.join(row.values())} |" for row in found.rows.values())
            yield ""


def main() -> int:
    """Write the pages, or say that they have to be written."""
    made = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if "--check" in sys.argv:
        if made == there:
            return 0
        print("docs/types is not up to date; run: python tools/type_reference.py", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - made.keys():
        (FOLDER / name).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
