"""Writing: the commented file that `init` makes, and the table on the operator's page, from the declared settings."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import Any

from infoexchange_relay.config.settings import Setting, declared
from infoexchange_relay.config.witnesses import ForeignWitnesses

_WIDTH = 116
_HEAD = """\
# Settings of one relay. Paths are relative to this file. Each setting can be replaced by an environment variable, for
# example INFOEXCHANGE_RELAY__LISTEN. Check changes with: infoexchange-relay check --config relay.toml
"""
_FOOT = """\
# Witnesses outside the community that are asked for cosignatures too, over HTTP; up to eight tables of this form.
# [[witness.foreign]]
# url = "https://witness.example.org"
# keys = ["witness.example.org+1f2e3d4c+BExample"]
"""


def settings_file(*, name: str, listen: str) -> str:
    """Return the text of a new relay's `relay.toml`: every setting with its meaning and what it is to begin with."""
    given = {"name": name, "listen": listen}
    parts = [_HEAD]
    for field, setting in declared():
        if isinstance(setting.kind, ForeignWitnesses):
            continue  # tables have to stand at the end
        required = field.default is dataclasses.MISSING
        value = given.get(field.name, setting.initial) if required else field.default
        # A JSON text is a TOML text too.
        parts.append(f"{_comment(field, setting)}\n{field.name} = {json.dumps(value)}\n")
    return "\n".join([*parts, _FOOT])


def settings_table() -> str:
    """Return the table of all settings for the operator's page, as Markdown."""
    rows = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for field, setting in declared():
        default = "required" if field.default is dataclasses.MISSING else f"`{json.dumps(field.default)}`"
        rows.append(f"| `{field.name}` | {default} | {setting.kind.range} | {_meaning(setting)} |")
    return "\n".join(rows) + "\n"


def _comment(field: dataclasses.Field[Any], setting: Setting) -> str:
    ending = "required" if field.default is dataclasses.MISSING else f"default {json.dumps(field.default)}"
    takes = f"Takes {setting.kind.range.replace('`', '')}; {ending}."
    lines = (*textwrap.wrap(_meaning(setting), _WIDTH, break_on_hyphens=False), takes)
    return "\n".join(f"# {line}" for line in lines)


def _meaning(setting: Setting) -> str:
    return f"{setting.meaning} {setting.more}".strip()
