"""Types: which messages there are, what stands in them, and the lists their values are of."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import EXIT_CODES, Subparsers, add_command

if TYPE_CHECKING:
    from infoexchange.catalogue.codes import CodeList

_EXAMPLES = """\
examples:
  infoexchange types                          every message type, by domain
  infoexchange types --domain DRUGS           those of one domain
  infoexchange types DrugSeizureReport        its fields, rules, lists and example
  infoexchange types Vessel                   a part that several types have
  infoexchange types --list drug-class        the values of a code list

"""


def register(subparsers: Subparsers) -> None:
    """Add `types`."""
    types = add_command(subparsers, "types", "look up message types, their fields and code lists", _types)
    types.epilog = _EXAMPLES + EXIT_CODES
    what = types.add_mutually_exclusive_group()
    what.add_argument("type", metavar="TYPE", nargs="?", help="a message type or part, such as MaritimeIncidentReport")
    what.add_argument("--domain", metavar="DOMAIN", help="only types of this domain, such as DRUGS")
    what.add_argument("--list", metavar="NAME", dest="list_name", help="a code list, such as drug-class")


def _types(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.catalogue import codes

    if args.list_name:
        _show_list(codes.load(args.list_name), out)
    elif args.type:
        _show_type(args.type, out)
    else:
        _show_types(args.domain or "", out)
    return PASSED


def _show_types(domain: str, out: Output) -> None:
    from infoexchange.catalogue import reference
    from infoexchange.errors import Reason, error

    types = sorted(reference.types(domain.upper()), key=lambda row: (row.domain, row.name))
    if not types:
        step = f"Choose one of {', '.join(sorted({row.domain for row in reference.types()}))}."
        raise error(Reason.BAD_FIELD, field="--domain", detail="no type is of this domain", next_step=step)
    data = {"types": [row._asdict() for row in types]}
    out.show(data, Table(("type", "domain", "meaning"), types), "Next: infoexchange types TYPE, infoexchange new TYPE")


def _show_type(name: str, out: Output) -> None:
    from infoexchange.catalogue import examples, reference, schema, text, yaml_text

    found = reference.descriptor(name)
    is_type = found.name in {row.name for row in reference.types()}
    fields, rules, lists = reference.fields(name), reference.rules(name), reference.lists(name)
    example = examples.message(found.name) if is_type else None
    doc = schema.words(found.name).doc
    rows = [
        (row.path, row.kind, "required" if row.required else "", row.example, "; ".join(row.limits), row.meaning)
        for row in fields
    ]
    parts: list[str | Table] = [f"{found.name}: {doc}\n"]
    parts.append(Table(("field", "holds", "", "example", "limits", "meaning"), rows))
    if rules:
        parts += ["\nRules over several fields:", *(f"  {rule}" for rule in rules)]
    if lists:
        listed = [(one.name, one.version, len(one.rows), one.source) for one in lists]
        parts.append("\nCode lists, shown by `infoexchange types --list NAME`:")
        parts.append(Table(("list", "version", "values", "source"), listed))
    if example:
        parts += [f"\nExample:\n{yaml_text.to_yaml(example)}", f"Next: infoexchange new {found.name}"]
    out.show(
        {
            "type": found.name,
            "meaning": doc,
            "fields": [row._asdict() for row in fields],
            "rules": rules,
            "lists": [one.name for one in lists],
            "example": text.to_json(example) if example else "",
        },
        *parts,
    )


def _show_list(found: CodeList, out: Output) -> None:
    rows = list(found.rows.values())
    columns = tuple(rows[0])
    out.show(
        {"list": found.name, "version": found.version, "source": found.source, "values": rows},
        f"{found.name}, version {found.version}. Source: {found.source}\n",
        Table(columns, [tuple(row.values()) for row in rows]),
    )
