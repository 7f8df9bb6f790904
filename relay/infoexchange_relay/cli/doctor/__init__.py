"""The command `doctor`: looks at everything around a relay that may stop it, and says what to do.

Unlike `check` it hashes no log, and it asks more: this machine, every other relay, and what time it is there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from infoexchange.cli.output import FAILED, INDETERMINATE, PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.directory import Directory
from infoexchange.endings import Ending
from infoexchange.errors import ExchangeError
from infoexchange.home.files import in_file, read_file
from infoexchange.listing import Roots
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange.transport import open_channel, utc_now
from infoexchange_relay.backup import last_backup
from infoexchange_relay.cli.checks import Checks
from infoexchange_relay.cli.doctor import log, machine
from infoexchange_relay.cli.doctor.finding import Finding, State, attention, looked, of_problem, well, wrong
from infoexchange_relay.cli.doctor.nearby import Clock, Visit
from infoexchange_relay.config import Config, parse_address
from infoexchange_relay.lock import holder, is_locked
from infoexchange_relay.stores import FileLatch, is_shared, is_there, look

# Implementation constants
_SECONDS = timedelta(seconds=5)  # for an answer from this machine
_BACKUP_OLD = timedelta(days=8)  # one a week is forgotten now and then by a day
_BACK_UP = "Make one, to another machine: infoexchange-relay backup FILE --config relay.toml"
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  asked, not listened on
_CODES = {State.WELL: PASSED, State.ATTENTION: INDETERMINATE, State.WRONG: FAILED}


def register(commands: Subparsers, config: Callable[[argparse.Namespace], Config]) -> None:
    """Declare the command."""
    summary = "look at clock, disks, keys, neighbours, witnesses and log, and say what to do; the relay goes on"
    doctor = add_command(commands, "doctor", summary, lambda args, out: _doctor(config(args), args.config, out))
    doctor.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
    doctor.epilog = """\
exit codes:
  0  all is well
  1  something is wrong: act now
  2  nothing is wrong yet, but something needs a person soon, or cannot be told
  3  the command line or the configuration is wrong; nothing was looked at
"""


def _doctor(config: Config, file: Path, out: Output) -> int:
    with out.progress("Looking") as progress:
        progress(0, 1)
        findings = examine(config, file, clock=utc_now)
    worst = max(finding.state for finding in findings)
    data = [{"check": f.name, "state": f.state.word, "detail": f.detail, "next_step": f.next_step} for f in findings]
    steps = [f"{f.name}: {f.next_step}" for f in sorted(findings, key=lambda f: -f.state) if f.next_step]
    out.show(
        {"state": worst.word, "findings": data},
        Table(("", "looked at", "found"), [(f.state.word, f.name, f.detail) for f in findings]),
        *(["", "What to do:"] if steps else []),
        *(f"  {number}. {step}" for number, step in enumerate(steps, 1)),
    )
    return _CODES[worst]


def examine(config: Config, file: Path, *, clock: Clock) -> list[Finding]:
    """Return one finding for everything that could be looked at.

    Args:
        config: The relay's settings.
        file: Where they stand.
        clock: This machine's; what it is compared with comes from the other relays' witnesses.
    """
    now = clock()
    found = looked("permissions", lambda: machine.permissions(config, file))
    found += looked("disks", lambda: machine.disks(config))
    found += looked("limits", lambda: machine.limits(holder(config) or os.getpid()))
    checks = Checks(config, lambda done, total: None, now=now)
    _, directory = checks.papers()
    for one in checks.findings:
        found.append(of_problem(one.name, one.problem) if one.problem else well(one.name, one.detail))
    found += [_ending(ending, now) for ending in checks.endings]
    found += looked("process", lambda: log.running(config))
    found += looked("log", lambda: log.log(config, directory, now))
    found += looked("backup", lambda: _backup(config, now))
    if directory:
        found += looked("newer directory", lambda: _waiting(config, directory))
        found += looked("neighbours", lambda: _neighbours(config, directory, clock))
    return found


def _ending(ending: Ending, now: datetime) -> Finding:
    say = wrong if ending.at <= now else attention
    return say(f"end of {ending.what}", ending.sentence(now).removesuffix(ending.next_step).strip(), ending.next_step)


def _backup(config: Config, now: datetime) -> Iterator[Finding]:
    """Tell how old the last backup is, as far as the data tells."""
    if is_shared(config.place) or not is_there(config.place):
        return
    last = last_backup(config)
    if last is None:
        yield attention("backup", "none was ever made", _BACK_UP)
        return
    made_at, place = last
    said = f"{log.span(now - made_at)} ago, {place}"
    yield attention("backup", said, _BACK_UP) if now - made_at > _BACKUP_OLD else well("backup", said)


def _waiting(config: Config, directory: Directory) -> Iterator[Finding]:
    """Tell whether a version lies there that the relay has not logged yet."""
    name = "newer directory"
    if not is_there(config.place):
        return
    with look(config.place) as store:
        logged = store.exhibits(Event.DIRECTORY_VERSION)
    with in_file(config.roots):
        roots = Roots.parse(read_file(config.roots, next_step="Put the trust anchor there."))
    used = Directory.resume(logged, logged[-1], roots=roots).version if logged else 0
    if used < directory.version:
        step = "A relay that runs takes it within ten seconds; if not, look for `directory_refused` in its log."
        yield attention(name, f"version {directory.version} lies there, the relay uses {used}", step)
    else:
        yield well(name, f"none; the relay uses version {used}")


def _neighbours(config: Config, directory: Directory, clock: Clock) -> Iterator[Finding]:
    """Visit this relay itself and every other one."""
    next_step = "Have the national CA issue a certificate, see `check`."
    certificate = read_file(config.tls_certificate, next_step=next_step)
    key = config.keychain().read(config.tls_key, next_step=next_step)
    if is_locked(config):
        yield _service(config, directory, certificate, key)
    peers = [
        relay for relay in directory.relays() if relay.name not in (config.name, *config.courier) and relay.address
    ]
    if peers:
        yield from Visit(directory, certificate, key, _notes(config), clock=clock).all(peers)


def _service(config: Config, directory: Directory, certificate: bytes, key: bytes) -> Finding:
    """Ask the relay itself whether it serves, as a balancer does."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types

    from infoexchange import certificates

    host, port = parse_address(config.listen)
    if not port:
        return well("service", "listens on any free port, which is not known here")
    host = _ANY_HOST.get(host, host)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    cas = directory.nation(directory.party(config.name, at=utc_now()).nation).tls_cas
    roots = b"".join(certificates.to_pem(ca) for ca in cas)
    channel = open_channel(address, name=config.name, roots=roots, certificate=certificate, key=key)
    step = "Look at the end of its log; it answers again once it is started anew."
    try:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS.total_seconds())
    except grpc.RpcError as problem:
        return wrong("service", f"{address}: does not answer: {problem.code().name}", step)
    finally:
        channel.close()
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return wrong("service", f"{address}: it takes nothing new", step)
    return well("service", f"{address}: serving")


def _notes(config: Config) -> Sequence[bytes]:
    """Return what witnesses may have cosigned last: the newest checkpoint, and the newest with a quorum."""
    notes = []
    for read in (FileLatch(config.latch).read, config.cosigned.read_bytes):
        try:
            note = read()
            Checkpoint.parse(note)
        except (OSError, ExchangeError):  # other looks tell
            continue
        notes.append(note)
    return notes
