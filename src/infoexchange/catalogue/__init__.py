"""Catalogue: every message type that agencies exchange, under one name each.

`from infoexchange.catalogue import Handling, Tlp, MaritimeIncidentReport` works for every message, enum and enum value
of `proto/infoexchange/catalogue/v1`. A name loads the generated modules up to its own and no others, because an agency
that uses two types should not pay for eighty at start. Rules stand in `rules`, marks and redaction in `marks`, code
lists in `codes`, JSON in `text`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    # What `__getattr__` gives at run time, for type checkers and editors.
    from infoexchange.catalogue.v1.arms_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.common_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.consent_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.cooperation_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.cyber_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.drugs_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.economic_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.exchange_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.finance_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.handling_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.identity_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.maritime_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.mineaction_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.notices_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.options_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.persons_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.registry_pb2 import *  # noqa: F403
    from infoexchange.catalogue.v1.terrorism_pb2 import *  # noqa: F403

PACKAGE = "infoexchange.catalogue.v1"

# Searched in this order; what a file imports stands before it, so that a name never loads more than it must.
MODULES = (
    "options",
    "common",
    "handling",
    "exchange",
    "consent",
    "identity",
    "drugs",
    "persons",
    "maritime",
    "terrorism",
    "arms",
    "finance",
    "economic",
    "cyber",
    "notices",
    "registry",
    "mineaction",
    "cooperation",
)


def _module(name: str) -> Any:
    return import_module(f"{PACKAGE}.{name}_pb2")


def __getattr__(name: str) -> Any:
    """Give the message, enum or enum value of this name, loading its module the first time."""
    if not name.startswith("_") and name[:1].isupper():
        for module in map(_module, MODULES):
            if name in module.DESCRIPTOR.message_types_by_name or hasattr(module, name):
                found = getattr(module, name)
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _is_exchanged(descriptor: Any) -> bool:
    """Tell messages from building blocks: a message carries its marks as field 1."""
    first = descriptor.fields_by_number.get(1)
    return bool(first and first.message_type and first.message_type.full_name == f"{PACKAGE}.Handling")


def schemas() -> dict[str, type[Message]]:
    """Return the class of every message that can be exchanged, by schema name, in alphabetical order."""
    found: dict[str, type[Message]] = {}
    for module in map(_module, MODULES):
        for name, descriptor in module.DESCRIPTOR.message_types_by_name.items():
            if _is_exchanged(descriptor):
                found[descriptor.full_name] = getattr(module, name)
    return dict(sorted(found.items()))


def message_type(schema: str) -> type[Message]:
    """Return the class of a schema name such as `infoexchange.catalogue.v1.IndicatorSet`.

    Args:
        schema: The full name, or only its last part.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no message of this name is known here.
    """
    package, _, leaf = schema.rpartition(".")
    if package in {"", PACKAGE} and leaf.isidentifier():
        for module in map(_module, MODULES):
            descriptor = module.DESCRIPTOR.message_types_by_name.get(leaf)
            if descriptor is not None and _is_exchanged(descriptor):
                found: type[Message] = getattr(module, leaf)
                return found
    raise error(
        Reason.UNKNOWN_VERSION,
        field="schema",
        detail="no message type of this name is known here",
        next_step="List the types with `infoexchange types`, or update this software if the sender's is newer.",
    )


def schema_of(message: Message) -> str:
    """Return the schema name of a message, as the sealed Content carries it."""
    return str(message.DESCRIPTOR.full_name)


def handling_of(message: Message) -> Handling:  # noqa: F405
    """Return the marks of a catalogue message, to read or to change: every one has them, as field 1."""
    marks: Handling = message.handling  # type: ignore[attr-defined]  # noqa: F405  Message is the base of all types
    return marks


def domain_of(message: Message) -> Domain.ValueType:  # noqa: F405
    """Return the domain a message belongs to: that of its type, or the one a flow message states in its marks.

    Permission to send and to receive is given per domain, so an answer that nobody stated is refused, not guessed.

    Raises:
        RefusedError: `RULE_BROKEN` where a flow message states no domain.
    """
    options = _module("options")
    stated: Domain.ValueType = message.DESCRIPTOR.GetOptions().Extensions[options.domain]  # noqa: F405
    if not stated and _is_exchanged(message.DESCRIPTOR):
        stated = handling_of(message).domain
    if not stated:
        names = [name.removeprefix("DOMAIN_") for name in options.Domain.keys()[1:]]
        raise error(
            Reason.RULE_BROKEN,
            field="handling.domain",
            detail="the message belongs to no domain",
            next_step=f"Set handling.domain to one of {', '.join(names)}.",
        )
    return stated
