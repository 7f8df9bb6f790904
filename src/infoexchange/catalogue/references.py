"""References: which other messages a message answers, corrects or withdraws, from the options of its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infoexchange.catalogue.v1 import options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Reference(NamedTuple):
    """A field that names another envelope.

    Attributes:
        field: Its name.
        digest: The envelope it names.
        own: Whether only the sender of that one may refer to it so.
        reply_to: Message types of which one in that envelope is answered by this message.
    """

    field: str
    digest: bytes
    own: bool
    reply_to: tuple[str, ...] = ()


def references(message: Message) -> list[Reference]:
    """Return every reference of a message to another one."""
    found = []
    for field, value in message.ListFields():
        options = field.GetOptions()
        kind = options.Extensions[options_pb2.refers]
        if kind:
            answered = tuple(options.Extensions[options_pb2.reply_to])
            found.append(Reference(field.name, value, kind == options_pb2.REFERENCE_OWN, answered))
    return found
