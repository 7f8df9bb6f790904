"""Commands of a relay's operator: `init`, `check`, `doctor`, `serve`, `recover` and others."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infoexchange.cli.endings import endings_data, endings_parts
from infoexchange.cli.output import FAILED, PASSED, USAGE, Output, Table
from infoexchange.cli.parser import Parser, add_command, parsed
from infoexchange.cli.passphrase import add_passphrase, keychain_of, new_seal
from infoexchange.witness import WitnessKeys
from infoexchange_relay.cli import backup, courier, doctor, export, next_log, prune, status
from infoexchange_relay.cli.checks import Checks
from infoexchange_relay.cli.folder import DEFAULT_LISTEN, make_folder, write_registration
from infoexchange_relay.config import Config, ConfigError, load
from infoexchange_relay.lock import locked
from infoexchange_relay.recovery import assess, begin_anew

_TOLD = 128 + signal.SIGTERM  # what a shell says of a program that SIGTERM ended


class _Parser(Parser):
    exit_codes = """\
exit codes:
  0  done, or everything checked holds; the relay was told to stop
  1  failed: one line for each problem says what and what to do
  3  the command line or the configuration is wrong; nothing was begun
  4  the audit log stopped while the relay ran; what was acknowledged is safe
  130  interrupted from the keyboard
  143  told to stop by SIGTERM; `serve` stops in order and gives 0
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as the help describes it."""
    parser = _Parser(
        prog="infoexchange-relay", description="A national relay: carries sealed envelopes, logs every event."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    init = add_command(commands, "init", "make the folder of a new relay", _init)
    init.add_argument("name", metavar="NAME", help="name of the relay, such as relay.th.example")
    init.add_argument("--folder", metavar="DIR", type=Path, required=True, help="new folder")
    init.add_argument("--listen", metavar="HOST:PORT", default=DEFAULT_LISTEN, help="default: %(default)s")
    init.add_argument("--nation", metavar="CODE", help="code of its nation (default: the second part of NAME)")

    add_passphrase(init, new=True)

    check = add_command(commands, "check", "check everything a relay needs, and its whole log; changes nothing", _check)
    serve = add_command(commands, "serve", "run the relay until it is told to stop", _serve)
    recover = add_command(commands, "recover", "go on with a new log when the log is lost; keeps all of it", _recover)
    recover.add_argument("--yes", action="store_true", help="do not ask")
    for command in (check, serve, recover):
        command.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")

    doctor.register(commands, _config)
    status.register(commands, _config)
    backup.register(commands, _config)
    export.register(commands, _config)
    courier.register(commands, _config)
    prune.register(commands, _config)
    next_log.register(commands, _config)

    args = parsed(parser, argv)
    if isinstance(args, int):
        return args
    out = Output(parser.prog, as_json=args.json)
    try:
        with contextlib.nullcontext() if args.run is _serve else _stopping():
            return out.run(lambda: args.run(args, out))
    except ConfigError as problem:
        for each in problem.problems:
            out.problem(each)
        return USAGE


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """End at SIGTERM as at an error: what a command has only begun is cleared away, however often it is told."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(_TOLD)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _config(args: argparse.Namespace) -> Config:
    return load(args.config, os.environ)


def _init(args: argparse.Namespace, out: Output) -> int:
    keychain = keychain_of(args, new_seal(args))
    made = make_folder(
        args.folder, args.name, listen=args.listen, nation=args.nation, keychain=keychain, now=datetime.now(UTC)
    )
    out.show(
        {"name": args.name, "folder": str(args.folder), "config": str(made.config)}
        | {"request": str(made.request), "registration": str(made.registration)},
        f"Made the keys and the configuration of {args.name} in {args.folder}. Keep the key files secret.",
        "Next:",
        f"  1. Have the national CA issue a certificate for {made.request}; put it at {made.certificate}.",
        f"  2. Give {made.registration} to whoever writes the directory; it holds the keys of the audit log.",
        f"  3. Put the signed directory at {made.directory} and the trust anchor at {made.roots}.",
        f"  4. infoexchange-relay check --config {made.config}",
        f"  5. infoexchange-relay serve --config {made.config}",
    )
    return PASSED


def _check(args: argparse.Namespace, out: Output) -> int:
    config, now = _config(args), datetime.now(UTC)
    with out.progress("Hashing the audit log again") as progress:
        checks = Checks(config, progress, now=now)
        findings = checks.run()
    failed = [finding for finding in findings if finding.problem]
    data = [{"check": f.name, "passed": not f.problem, "detail": f.detail, "next_step": f.next_step} for f in findings]
    rows = [("failed" if f.problem else "ok", f.name, f.detail) for f in findings]
    out.show(
        {"passed": not failed, "checks": data, "endings": endings_data(checks.endings, now)},
        Table(("", "check", "found"), rows),
        *endings_parts(checks.endings, now),
    )
    for finding in failed:
        assert finding.problem
        out.problem(finding.problem)
    return FAILED if failed else PASSED


def _registered(file: Path, config: Config) -> dict[str, str]:
    """Return nation and address as they were registered before, or as the name and the settings tell."""
    try:
        before = json.loads(file.read_bytes())
        return {"nation": str(before["nation"]), "address": str(before["address"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"nation": config.name.split(".")[1], "address": config.listen}


def _recover(args: argparse.Namespace, out: Output) -> int:
    if not args.yes:
        out.check_person()
    config, now = _config(args), datetime.now(UTC)
    with locked(config):
        loss = assess(config)
        out.say(f"The log {loss.origin or 'of ' + config.name} cannot go on: {loss.why}.")
        out.say(f"{loss.size or 'No'} signed entries are known of it. Its data, latch and keys are put aside.")
        if not args.yes and not out.agreed("yes", "Is there no newer copy of the data anywhere? Type yes to go on:"):
            out.say("Nothing was changed.")
            return FAILED
        keys = begin_anew(config, loss, now=now)
    witness = WitnessKeys.parse(config.keychain().read(config.witness_keys, next_step="Restore it from its backup."))
    registration = args.config.parent / "registration.json"
    write_registration(registration, keys, witness, **_registered(registration, config))
    out.show(
        {"origin": keys.origin, "before": loss.origin, "size": loss.size, "registration": str(registration)},
        f"Made the keys of a new log, {keys.origin}.",
        "Next:",
        f"  1. Give {registration} to whoever writes the directory, and put its next version at {config.directory}.",
        f"  2. infoexchange-relay check --config {args.config}",
        f"  3. infoexchange-relay serve --config {args.config}: it takes what waited in the data that was put aside.",
        "Receipts of the lost log stay valid under the directory versions of their time.",
    )
    return PASSED


def _serve(args: argparse.Namespace, out: Output) -> int:
    # Loads the gRPC server, which the other commands do without.
    from infoexchange_relay.serve import serve

    return asyncio.run(serve(_config(args)))
