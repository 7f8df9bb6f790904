"""Examples: one message of each type, and files of foreign formats, for the demo, the documentation and tests.

Everything in them is invented: addresses of RFC 5737 and RFC 3849, names under `example`, ships that do not exist,
positions on the open sea, people who are called by a pseudonym. They belong to exercises.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from infoexchange import catalogue
from infoexchange.catalogue import text
from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

# By file name, so that a path can never be asked for.
NAMES = (
    "alert.cap.xml",
    "asam.json",
    "camt056.xml",
    "eore.csv",
    "event.misp.json",
    "hazards.arcgis.json",
    "indicators.stix.json",
    "people.ftm.json",
    "piracy.csv",
    "seizures.csv",
    "referrals.htcds.csv",
    "released.imsma.csv",
    "reports.geojson",
    "report.goaml.xml",
    "un-list.xml",
)


def read(name: str) -> bytes:
    """Return the bytes of an example file of a foreign format.

    Raises:
        MalformedError: `BAD_FIELD` where there is no such example.
    """
    if name not in NAMES:
        step = f"Choose one of {', '.join(NAMES)}."
        raise error(Reason.BAD_FIELD, field="name", detail="no such example", next_step=step)
    return files(__name__).joinpath(name).read_bytes()


def message(schema: str) -> Message:
    """Return the example of a message type, which every rule accepts.

    Args:
        schema: As `catalogue.message_type` takes it.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no message of this name is known here.
    """
    name = catalogue.message_type(schema).DESCRIPTOR.name
    return text.from_json(name, files(__name__).joinpath("messages", f"{name}.json").read_text(encoding="utf-8"))
