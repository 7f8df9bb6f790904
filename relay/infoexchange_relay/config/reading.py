"""Reading: the settings of a relay from one TOML file and the environment, with everything that is wrong at once."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay.config.lines import lines_of
from infoexchange_relay.config.settings import Config, declared
from infoexchange_relay.config.witnesses import TABLE

ENVIRONMENT_PREFIX = "INFOEXCHANGE_RELAY__"

# Implementation constants
_IN_BACKUPS = "every backup of the data would hold it"
_OUTSIDE = {
    "latch": "restoring the data would put an old one in place",
    "log_keys": _IN_BACKUPS,
    "witness_keys": _IN_BACKUPS,
    "tls_key": _IN_BACKUPS,
    "passphrase_file": _IN_BACKUPS,
}


class ConfigError(Exception):
    """Everything that is wrong with a configuration."""

    def __init__(self, problems: Sequence[ExchangeError]) -> None:
        """Keep the problems."""
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Return the configuration in a TOML file, with what the environment sets in its place.

    Raises:
        ConfigError: Something is wrong; it lists everything that is, with the line in the file or the variable.
    """
    text = _read(file)
    settings = _parse(file, text)
    problems = _Problems(file, text)
    table = settings.pop(TABLE) if isinstance(settings.get(TABLE), dict) else {}
    both = {f"{TABLE}_{key}": value for key, value in table.items()}
    given: dict[str, object] = settings | both
    for key in sorted(settings.keys() & both.keys()):
        problems.add(key, f"stands twice, once in the table [{TABLE}]")
    for variable, value in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            given[key] = value
            problems.variables[key] = variable
    values = _values(given, file.parent, problems)
    for name, why in _OUTSIDE.items():
        path, data = values.get(name), values.get("data")
        if path and data and Path(path).resolve().is_relative_to(data.resolve()):
            problems.add(name, f"must lie outside `data`, or {why}")
    if values.get("name") in values.get("courier", ()):
        problems.add("courier", "holds its own name")
    if values.get("tsa_url") and not values.get("tsa_roots"):
        problems.add("tsa_roots", "is missing; without it nothing that the authority at `tsa_url` says can be verified")
    if values.get("attachments_endpoint") and not values.get("attachments_bucket"):
        problems.add("attachments_bucket", "is missing; without it nothing is kept at `attachments_endpoint`")
    if problems.found:
        raise ConfigError(problems.found)
    return Config(**values)


def _values(given: Mapping[str, object], folder: Path, problems: _Problems) -> dict[str, Any]:
    """Return the value of each setting that is given and right."""
    known = {field.name: (field, setting) for field, setting in declared()}
    for key in sorted(given.keys() - known.keys()):
        near = difflib.get_close_matches(key, known, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        problems.add(key, f"no such setting; {advice}")
    values: dict[str, Any] = {}
    for key, (field, setting) in known.items():
        if key in given:
            try:
                values[key] = setting.kind.read(given[key], folder)
            except ValueError as problem:
                problems.add(key, str(problem))
        elif field.default is dataclasses.MISSING:
            problems.add(key, "is missing, and there is no default")
    return values


class _Problems:
    """What is wrong with the settings of one file.

    Attributes:
        variables: Which settings come from the environment, and from which variable.
        found: The problems so far.
    """

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self.variables: dict[str, str] = {}
        self.found: list[ExchangeError] = []

    def add(self, key: str, detail: str) -> None:
        """Add a problem with a setting, wherever it came from."""
        line = lines_of(self._text, TABLE).get(key)
        where = self.variables.get(key) or (f"{self._file}:{line}" if line else str(self._file))
        self.found.append(_bad(f"{where}: {key}", detail))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        next_step = "Make one with: infoexchange-relay init NAME --folder DIR"
        problem = error(Reason.UNAVAILABLE, field=str(file), detail="there is no such file", next_step=next_step)
    except OSError as found:
        problem = _bad(str(file), found.strerror or "cannot be read")
    except ValueError as found:
        problem = _bad(str(file), f"not TOML: {found}")
    raise ConfigError([problem])


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as found:  # says the line itself
        raise ConfigError([_bad(str(file), f"not TOML: {found}")]) from None
    except RecursionError:
        raise ConfigError([_bad(str(file), "not TOML that anybody writes: nested too deeply")]) from None


def _bad(field: str, detail: str) -> ExchangeError:
    return error(Reason.BAD_FIELD, field=field, detail=detail, next_step="Correct it and try again.")
