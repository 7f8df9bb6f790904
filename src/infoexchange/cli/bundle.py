"""Bundle: an agency's keys in turn: issue the next, look at those held, destroy those that are over."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table, UsageError
from infoexchange.cli.parser import SUITE_NAMES, Parser, Run, Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_home, folder_of

if TYPE_CHECKING:
    from infoexchange.bundle import KeyBundle
    from infoexchange.home import Home

_COLUMNS = ("epoch", "begins", "ends", "state", "bundle")


def register(subparsers: Subparsers) -> None:
    """Add `bundle rotate`, `bundle show` and `bundle destroy-old`."""
    group = add_group(subparsers, "bundle", "look after an agency's key bundles")

    rotate = _command(group, "rotate", "issue the key bundle of the next epoch", _rotate)
    rotate.add_argument("--if-needed", action="store_true", help="only when the newest ends within ten days")
    rotate.add_argument("--now", action="store_true", help="in use at once; otherwise 48 hours from now")
    rotate.add_argument(
        "--withdraw", action="store_true", help="withdraw all older bundles: somebody else may have their keys"
    )
    rotate.add_argument(
        "--recover", action="store_true", help="go on after bundles that this folder lost, as the relay has them"
    )
    rotate.add_argument(
        "--suite",
        choices=SUITE_NAMES,
        action="append",
        default=[],
        help="offer this suite from now on; may be repeated; without it, what was offered before",
    )
    rotate.add_argument("--publish", action="store_true", help="connect to the own relay and publish it at once")

    _command(group, "show", "list the key bundles held, and what to do soon", _show)
    _command(group, "destroy-old", "destroy the secrets that nobody may use any more", _destroy)


def _command(group: Subparsers, name: str, summary: str, run: Run) -> Parser:
    parser = add_command(group, name, summary, run)
    add_home(parser)
    return parser


def _rotate(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home import Home
    from infoexchange.suites import suite_named
    from infoexchange.transport import connect
    from infoexchange.transport.session import published

    if args.if_needed + args.recover + (args.now or args.withdraw) > 1:
        raise UsageError("--if-needed, --recover and --now or --withdraw exclude each other")
    home, now = Home.open(folder_of(args)), datetime.now(UTC)
    before, suites = home.bundle, [suite_named(name) for name in args.suite]
    if args.recover:
        home.go_on_after(published(home), now=now)
    elif args.if_needed:
        home.rotate(now=now, suites=suites)
        if home.unrotated:
            raise home.unrotated
    else:
        home.issue_next(now=now, suites=suites, withdraw=args.withdraw, at_once=args.now)
    if args.publish:
        with connect(home):
            pass
    bundle = home.bundle
    issued = bundle.digest != before.digest
    data = _described(bundle, now) | {"issued": issued, "published": args.publish, "withdraws": bundle.withdraws_older}
    out.show(data, *_told(args, home, now, issued=issued))
    return PASSED


def _told(args: argparse.Namespace, home: Home, now: datetime, *, issued: bool) -> list[str]:
    bundle = home.bundle
    if not issued:
        return [f"Nothing to do: epoch {bundle.epoch} of {home.name} holds until {bundle.not_after:%Y-%m-%d}."]
    when = "at once" if bundle.not_before <= now else f"from {bundle.not_before:%Y-%m-%d %H:%M}Z"
    lines = [f"Issued epoch {bundle.epoch} of {home.name}, in use {when} until {bundle.not_after:%Y-%m-%d}."]
    if bundle.withdraws_older:
        lines.append(
            "All older bundles are withdrawn. If somebody has the identity key too, have the national CA revoke its"
            " certificates as well, and make new ones."
        )
    if not args.publish:
        lines.append(f"Next: infoexchange receive --home {home.path}  (publishes it)")
    return lines


def _described(bundle: KeyBundle, now: datetime) -> dict[str, object]:
    return {
        "epoch": bundle.epoch,
        "begins": bundle.not_before.isoformat(),
        "ends": bundle.not_after.isoformat(),
        "digest": bundle.digest.hex(),
        "begun": bundle.not_before <= now,
    }


def _show(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.chain import in_use
    from infoexchange.home import Home

    home, now = Home.open(folder_of(args)), datetime.now(UTC)
    reminders = home.reminders(now=now)
    signing = in_use(home.bundles, now)
    rows = [
        (b.epoch, f"{b.not_before:%Y-%m-%d}", f"{b.not_after:%Y-%m-%d}", _state(home, b, signing, now), b.digest.hex())
        for b in home.bundles
    ]
    data = {
        "name": home.name,
        "bundles": [_described(b, now) | {"state": row[3]} for b, row in zip(home.bundles, rows, strict=True)],
        "reminders": reminders,
    }
    out.show(data, Table(_COLUMNS, [(*row[:4], row[4][:16]) for row in rows]), *reminders)
    return PASSED


def _state(home: Home, bundle: KeyBundle, signing: KeyBundle, now: datetime) -> str:
    from infoexchange.chain import withdrawing

    keys = next((k for k in home.identity.epochs if k.epoch == bundle.epoch), None)
    if keys is None or not keys.opening:
        return "destroyed"
    if now > bundle.not_after:
        return "over, still opens"
    if any(newer.not_before <= now for newer in withdrawing(bundle, home.bundles)):
        return "withdrawn, still opens"
    if bundle.not_before > now:
        return "to come"
    return "in use" if bundle is signing else "in use, followed"


def _destroy(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home import Home

    home, now = Home.open(folder_of(args)), datetime.now(UTC)
    epochs = home.destroy_old(now=now)
    names = ", ".join(map(str, epochs))
    told = f"Destroyed what was over of epoch {names}." if epochs else "Nothing is over: no secret was destroyed."
    out.show({"epochs": epochs}, told)
    return PASSED
