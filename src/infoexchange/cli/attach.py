"""Attach: files that go with a message, files that come with one, and how far they are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import UsageError
from infoexchange.cli.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infoexchange.delivery import Delivery
    from infoexchange.enclosure import Enclosure
    from infoexchange.errors import ExchangeError
    from infoexchange.mailbox import Mailbox
    from infoexchange.stash import Attachment

Tell = Callable[[str, int, int], None]

# Implementation constants
HELD_MAX = 64  # messages whose attachments are saved after the others; each is held in memory meanwhile


def add_attach(parser: Parser) -> None:
    """Declare the files that go with a message."""
    what = "file that goes with the message, sealed like it; may be repeated"
    parser.add_argument("--attach", metavar="PATH", type=Path, action="append", default=[], help=what)


def add_attachments(parser: Parser) -> None:
    """Declare where the files that come with messages go."""
    what = "folder for attachments, one folder for each message in it (inbox of the agency's folder)"
    parser.add_argument("--attachments", metavar="DIR", type=Path, help=what)


def attachments_of(args: argparse.Namespace, messages: Sequence[object]) -> list[Attachment]:
    """Return the files that go with the one message there is."""
    from infoexchange.stash import Attachment

    if args.attach and len(messages) > 1:
        raise UsageError(f"{args.file} holds {len(messages)} messages; --attach needs a file with one")
    return [Attachment(path) for path in args.attach]


class Saving:
    """The attachments of one run of `receive`.

    Attributes:
        failed: What could not be saved: message, name and problem. Those messages are not acknowledged.
    """

    def __init__(self, folder: Callable[[bytes], Path], tell: Tell) -> None:
        """Save below the folder that `folder` names for a message, and tell how far it is."""
        self.failed: list[tuple[str, str, ExchangeError]] = []
        self._folder = folder
        self._tell = tell

    def finish(self, mailbox: Mailbox, delivery: Delivery) -> list[dict[str, object]]:
        """Save what came with a message, then acknowledge it; return what was saved.

        What the sender has sealed wrongly is refused with a signed statement. After any other problem the message
        stays with the relay, and the next run goes on where this one stopped.
        """
        from infoexchange.errors import ExchangeError, Reason

        saved: list[dict[str, object]] = []
        for enclosure in delivery.attachments:
            try:
                path = self._save(enclosure, self._folder(delivery.digest))
            except ExchangeError as problem:
                self.failed.append((delivery.digest.hex(), enclosure.name, problem))
                if problem.reason in (Reason.BAD_CIPHERTEXT, Reason.BAD_COMMITMENT):
                    mailbox.refuse(delivery, problem.reason)
                return saved
            facts = {"name": enclosure.name, "type": enclosure.media_type, "bytes": enclosure.length}
            saved.append({**facts, "path": path})
        mailbox.acknowledge(delivery)
        return saved

    def _save(self, enclosure: Enclosure, folder: Path) -> str:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / enclosure.name
        if _is_saved(path, enclosure):  # before a crash; the message comes again until it is acknowledged
            return str(path)
        return enclosure.save(path, progress=partial(self._tell, f"saving {enclosure.name}"))


def _is_saved(path: Path, enclosure: Enclosure) -> bool:
    import hashlib

    if not path.is_file() or path.stat().st_size != enclosure.length:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return digest == enclosure.meta.sha256
