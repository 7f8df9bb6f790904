"""Examples: files of foreign formats, written for this project, for the demo, the documentation and tests.

Everything in them is invented: addresses of RFC 5737 and RFC 3849, names under `example`, ships that do not exist,
positions on the open sea. They belong to exercises.
"""

from __future__ import annotations

from importlib.resources import files

from infoexchange.errors import Reason, error

# By file name, so that a path can never be asked for.
NAMES = ("indicators.stix.json", "piracy.csv")


def read(name: str) -> bytes:
    """Return the bytes of an example.

    Raises:
        MalformedError: `BAD_FIELD` where there is no such example.
    """
    if name not in NAMES:
        step = f"Choose one of {', '.join(NAMES)}."
        raise error(Reason.BAD_FIELD, field="name", detail="no such example", next_step=step)
    return files(__name__).joinpath(name).read_bytes()
