"""Publishing: hand a signed version to the own relay; from there it reaches every other relay and agency."""

from __future__ import annotations

import argparse

from infoexchange.cli.directory import files
from infoexchange.cli.endings import opened
from infoexchange.cli.output import PASSED, Output


def run(args: argparse.Namespace, out: Output) -> int:
    """Check that a version follows the one held here, hand it over, and keep it once the relay has logged it."""
    from infoexchange.errors import ExchangeError, Reason, error
    from infoexchange.home.files import in_file, read_file
    from infoexchange.states import Event
    from infoexchange.transport import follow, reach

    home = opened(args, out)
    raw = read_file(args.file, next_step=files.CHECK)
    with reach(home) as relay:
        follow(home, relay)  # the versions before it, where this agency has been away
        with in_file(args.file):
            directory = home.directory.succeed(raw)
        receipt = relay.publish_directory(raw)
    if isinstance(receipt, ExchangeError):
        raise receipt
    receipt.verify(directory)
    if (receipt.routing.event, receipt.subject.directory_digest) != (Event.DIRECTORY_VERSION, directory.digest):
        raise error(Reason.BAD_PROOF, field="receipt", detail="it is for something else than this version")
    home.save_directory(directory)
    out.show(
        {"version": directory.version, "digest": directory.digest.hex(), "entry": receipt.index}
        | {"relay": receipt.routing.this_relay},
        f"{receipt.routing.this_relay} uses version {directory.version} and logged it as entry {receipt.index};"
        " the other relays fetch it within a few minutes, agencies when they connect.",
    )
    return PASSED
