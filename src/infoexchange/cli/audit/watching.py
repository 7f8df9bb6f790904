"""Watching: ask relays again and again what their logs say, compare it with all that is known, and keep the proofs."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.evidence import findings
from infoexchange.cli.output import FAILED, INDETERMINATE, PASSED, Output, UsageError
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from infoexchange.cli.audit.sightings import Sightings
    from infoexchange.home import Home
    from infoexchange.listing import Party
    from infoexchange.transport import RemoteRelay
    from infoexchange.transport.witness import RemoteWitness
    from infoexchange.watch import Known, Sight

# Implementation constants
_TIMEOUT = timedelta(seconds=10)  # one dead relay must not hold up the others for long
_THREADS = 8  # witnesses asked at a time


def register(group: Subparsers) -> None:
    """Add `audit watch`."""
    watch = add_command(
        group, "watch", "compare what relays' logs say now with what they said before, and to others", _watch
    )
    watch.add_argument("relays", metavar="RELAY", nargs="*", help="relays to look at (default: all of the directory)")
    add_home(watch)
    watch.add_argument(
        "--folder", metavar="DIR", type=Path, help="where checkpoints and proofs are kept (default: HOME/watch)"
    )
    watch.add_argument(
        "--compare", metavar="FILE", type=Path, nargs="+", default=[], help="checkpoints that others were shown"
    )
    watch.add_argument(
        "--max-age", metavar="MINUTES", type=_minutes, default=15, help="how old cosignatures may be (default: 15)"
    )
    watch.add_argument("--every", metavar="SECONDS", type=_seconds, help="look again and again, until interrupted")


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a number of minutes from 1 to 10000 is needed")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("a number of seconds from 1 to 1000000 is needed")
    return int(text)


def _watch(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.audit.sightings import Sightings
    from infoexchange.cli.endings import opened
    from infoexchange.home.files import exclusive

    home = opened(args, out)
    folder = args.folder or args.home / "watch"
    sightings = Sightings(folder)
    while True:
        with exclusive(folder):  # two at once would each take the other's notes for leftovers
            code = _round(args, home, sightings, out)
        if args.every is None:
            return code
        time.sleep(args.every)


def _round(args: argparse.Namespace, home: Home, sightings: Sightings, out: Output) -> int:
    """Look at every log once, print what was found, and return the exit code."""
    from infoexchange.log import origins
    from infoexchange.watch import Watch

    _renew(home)
    home.directory.check_current(_now())
    relays = _relays(home, args.relays)
    watch = Watch(home.directory, clock=_now, age_max=timedelta(minutes=args.max_age))
    others = _files(args.compare)
    unasked: list[str] = []
    sights: list[Sight] = []
    with _lines(home) as lines:
        # Witnesses first: what they remember was signed before the relays answer.
        logs = _logs(home, relays, sightings)
        for name, remembered in _remembered(lines, [origin for _, origin, _ in logs]).items():
            for origin, raw in (remembered or {}).items():
                others[origin][name] = raw
            if remembered is None:
                unasked.append(name)
        for relay, origin, known in logs:
            look = watch.look if origin == origins(home.directory, relay)[0] else watch.look_back
            sight = look(relay, lines[relay][0], known, others.pop(origin, {}))
            sightings.write(sight.known)
            sights.append(sight)
    for name in unasked:
        out.warn(f"the witness of {name} could not be asked what it has seen")
    for origin, told in others.items():
        out.warn(f"{', '.join(told)}: a checkpoint of {origin}, which is not looked at")
    return _show(sights, sightings, out)


def _logs(home: Home, relays: Sequence[str], sightings: Sightings) -> list[tuple[str, str, Known]]:
    """Return relay, origin and what is known of the log that each relay writes, and of closed ones that were seen."""
    from infoexchange.log import log_keys, origins

    found = []
    for relay in relays:
        for place, origin in enumerate(origins(home.directory, relay)):
            known = sightings.read(list(log_keys(home.directory, relay, origin)))
            if known.newest or place == 0:
                found.append((relay, origin, known))
    return found


def _renew(home: Home) -> None:
    """Follow the directory: an old one would judge by old keys. A relay that is down now is no reason to stop."""
    from infoexchange.errors import UnavailableError
    from infoexchange.transport import follow, reach

    with contextlib.suppress(UnavailableError), reach(home, timeout=_TIMEOUT) as remote:
        follow(home, remote)


def _relays(home: Home, names: Sequence[str]) -> list[str]:
    found = [party.name for party in _present(home) if party.log_keys]
    for name in names:
        if name not in found:
            raise UsageError(f"the directory lists no relay {name} with a log")
    return list(dict.fromkeys(names)) or found


def _present(home: Home) -> list[Party]:
    """Return the relays that take part now and can be reached."""
    from infoexchange.errors import ExchangeError

    found = []
    for party in home.directory.relays():
        with contextlib.suppress(ExchangeError):  # it has left, or is yet to come
            found += [home.directory.party(party.name, at=_now())] if party.address else []
    return found


def _files(files: Sequence[Path]) -> defaultdict[str, dict[str, bytes]]:
    """Return checkpoints from files, by the log that each is of."""
    from infoexchange.home.files import in_file, read_file
    from infoexchange.tlog import Checkpoint

    found: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for file in files:
        raw = read_file(file, next_step="Check the path.")
        with in_file(file):
            found[Checkpoint.parse(raw).origin][str(file)] = raw
    return found


@contextlib.contextmanager
def _lines(home: Home) -> Iterator[Mapping[str, tuple[RemoteRelay, RemoteWitness]]]:
    """Give every relay with its witness; nothing is connected before it is asked."""
    from infoexchange.transport import visit_both

    with contextlib.ExitStack() as stack:
        yield {
            party.name: stack.enter_context(visit_both(home, party.name, timeout=_TIMEOUT)) for party in _present(home)
        }


def _remembered(
    lines: Mapping[str, tuple[RemoteRelay, RemoteWitness]], origins: Sequence[str]
) -> dict[str, dict[str, bytes] | None]:
    """Return what each witness remembers of each log of others; nothing at all for one that does not answer."""

    def ask(name: str) -> dict[str, bytes] | None:
        from infoexchange.errors import ExchangeError

        try:
            told = {
                origin: lines[name][1].remembered(origin) for origin in origins if not origin.startswith(f"{name}/")
            }
        except ExchangeError:  # dead, or of an older version: the next one is asked
            return None
        return {origin: raw for origin, raw in told.items() if raw}

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(lines, pool.map(ask, lines), strict=True))


def _show(sights: Sequence[Sight], sightings: Sightings, out: Output) -> int:
    """Print the findings about each log, and where proofs and checkpoints are."""
    logs, proofs, codes = [], [], {PASSED}
    for sight in sights:
        files = [str(sightings.prove(proof)) for proof in sight.proofs]
        refused = [str(file) for file in map(sightings.refuse, sight.refused) if file]
        newest = sightings.newest(sight.known.newest.origin) if sight.known.newest else None
        checks = [{"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail}
                  for c in sight.report.checks]  # fmt: skip
        logs.append(
            {"relay": sight.relay, "log": sight.log, "verdict": sight.report.verdict.word, "checks": checks}
            | {"kept": str(newest or ""), "proofs": files, "refused": refused}
        )
        codes.add(sight.report.verdict.value)
        proofs += files
        out.say(findings(sight.report))
        out.say(f"{sight.report.verdict.word}  {sight.log}\n")
    code = next(code for code in (FAILED, INDETERMINATE, PASSED) if code in codes)
    word = next(s.report.verdict.word for s in sights if s.report.verdict.value == code) if sights else "TOTAL-PASSED"
    steps = [f"Wrote {file}; verify it with: infoexchange audit misbehaviour verify {file}" for file in proofs]
    out.show(
        {"at": _now().isoformat(), "verdict": word, "relays": logs, "proofs": proofs},
        *steps,
        f"{word}  {len(sights)} logs, {_now():%Y-%m-%d %H:%M:%S}Z",
    )
    return code


def _now() -> datetime:
    return datetime.now(UTC)
