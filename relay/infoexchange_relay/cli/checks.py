"""Checks: everything a relay needs before it may serve, looked at without changing anything.

Each finding stands for itself, so that one run shows all that is wrong; what depends on something broken is left out.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from infoexchange import certificates, suites
from infoexchange.auditor import Progress
from infoexchange.cli.output import of_system
from infoexchange.directory import Directory
from infoexchange.endings import Ending
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import check_tls_pair, in_file, missing, read_file
from infoexchange.listing import Party, Role, Roots
from infoexchange.log import LogKeys, NoteKeys
from infoexchange.ports import Latch
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange.witness import WitnessKeys
from infoexchange_relay import expiry
from infoexchange_relay.config import Config, parse_address
from infoexchange_relay.proving import prove
from infoexchange_relay.stores import FileLatch, is_there, latch_of, look
from infoexchange_relay.timestamps import authorities

T = TypeVar("T")
K = TypeVar("K", bound=NoteKeys)

# Implementation constants
_CONNECT_SECONDS = 3.0  # a peer on the other side of the world answers within half a second
_CONNECTIONS_MAX = 16  # a region has about as many relays

_INIT = "Make the relay's folder with: infoexchange-relay init NAME --folder DIR"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    found: str = ""
    problem: ExchangeError | None = None

    @property
    def detail(self) -> str:
        """What was found, or what is wrong, in a few words."""
        return self.problem.detail if self.problem else self.found

    @property
    def next_step(self) -> str:
        """What to do about it; empty where all is well."""
        return self.problem.next_step if self.problem else ""


class Checks:
    """The checks of one relay at one time.

    Attributes:
        findings: What was found so far.
        endings: What ends soon, once `papers` has found a directory.
    """

    def __init__(self, config: Config, progress: Progress, *, now: datetime) -> None:
        """Hold what is checked; `progress` is told about the audit log, which may be long."""
        self._config = config
        self._keychain = config.keychain()
        self._progress = progress
        self._now = now
        self.findings: list[Finding] = []
        self.endings: list[Ending] = []

    def run(self) -> list[Finding]:
        """Return one finding for each check that could be made."""
        keys, directory = self.papers()
        if keys:
            self._try("audit log", lambda: self._log(keys), str)
        if directory:
            self._peers(directory)
        return self.findings

    def papers(self) -> tuple[LogKeys | None, Directory | None]:
        """Check keys, certificates and the directory, and return what is right of log keys and directory."""
        # Without what every suite rests on no key or directory could be read.
        if self._try("cryptography", lambda: suites.probe(()), lambda _: "works") is None:
            return None, None
        keys = self._try("log keys", lambda: self._keys(LogKeys, self._config.log_keys), lambda k: k.name)
        directory = self._try(
            "directory", self._directory, lambda d: f"version {d.version}, signed by {len(d.signers)}"
        )
        for number in directory.listing.suites if directory else ():
            self._try(f"suite 0x{number:04x}", partial(suites.suite_of, number), lambda s: s.name)
        entry = (
            self._try("entry in the directory", lambda: self._entry(directory), lambda p: p.address)
            if directory
            else None
        )
        if entry and keys:
            self._try("log keys in the directory", lambda: self._registered(keys, _of(keys, entry.log_keys)), str)
        witness = self._try(
            "witness keys", lambda: self._keys(WitnessKeys, self._config.witness_keys), lambda k: k.name
        )
        if entry and witness:
            self._try("witness keys in the directory", lambda: self._registered(witness, entry.witness_keys), str)
        self._try("TLS certificate", lambda: self._certificate(directory, entry), str)
        if self._config.tsa_url:
            self._try(
                "time authority", lambda: authorities(self._config), lambda a: f"{len(a.certificates)} certificates"
            )
        if directory:
            with contextlib.suppress(OSError, ExchangeError):  # a certificate that cannot be read is a finding already
                self.endings = expiry.upcoming(self._config, directory, self._now)
        return keys, directory

    def _try(self, name: str, check: Callable[[], T], found: Callable[[T], str]) -> T | None:
        try:
            result = check()
        except ExchangeError as problem:
            self.findings.append(Finding(name, problem=problem))
        except OSError as problem:
            self.findings.append(Finding(name, problem=of_system(problem)))
        else:
            self.findings.append(Finding(name, found(result)))
            return result
        return None

    def _keys(self, kind: type[K], file: Path) -> K:
        raw = self._keychain.read(file, next_step=_INIT)
        with in_file(file):
            keys = kind.parse(raw)
        if keys.relay != self._config.name:
            next_step = "Correct the name or the path of the key file in the configuration."
            raise error(Reason.BAD_FIELD, field=str(file), detail=f"the keys of {keys.relay}", next_step=next_step)
        return keys

    def _directory(self) -> Directory:
        config = self._config
        logged: Sequence[bytes] = ()
        if is_there(config.place):
            # A log that cannot be read is a finding of its own; the file is then judged by the trust anchor.
            with contextlib.suppress(ExchangeError), look(config.place) as store:
                logged = store.exhibits(Event.DIRECTORY_VERSION)
        with in_file(config.roots):
            roots = Roots.parse(read_file(config.roots, next_step="Put the trust anchor there."))
        with in_file(config.directory):
            raw = read_file(config.directory, next_step="Put the signed directory there.")
            directory = Directory.resume(logged, raw, roots=roots)
            directory.check_current(self._now)
        return directory

    def _entry(self, directory: Directory) -> Party:
        party = directory.party(self._config.name, at=self._now)
        if party.role is not Role.RELAY:
            raise error(Reason.UNKNOWN_PARTY, field="directory", detail=f"{party.name} is an agency there")
        return party

    def _registered(self, keys: NoteKeys, listed: Sequence[str]) -> str:
        if {str(key) for key in keys.verifier_keys} != set(listed):
            raise error(
                Reason.BAD_FIELD,
                field=keys.name,
                detail="the directory lists other keys for this relay",
                next_step="Use the keys that were registered, or have registration.json put into a new directory.",
            )
        return f"{len(listed)} keys"

    def _certificate(self, directory: Directory | None, entry: Party | None) -> str:
        config = self._config
        # The permissions of the key are worth knowing even where there is no certificate yet.
        key = self._keychain.read(config.tls_key, next_step=_INIT)
        with in_file(config.tls_certificate):
            ders = certificates.from_pem(
                read_file(config.tls_certificate, next_step="Put the certificate that the national CA issued there.")
            )
        check_tls_pair(ders[0], key, config.tls_key)
        until = f"until {certificates.load(ders[0]).not_valid_after_utc:%Y-%m-%d}"
        if not directory or not entry:
            return until + ", not compared with the directory"
        with in_file(config.tls_certificate):
            leaf = certificates.verify_leaf(ders[0], directory.nation(entry.nation).tls_cas, self._now)
            if leaf.name != config.name:
                raise error(
                    Reason.BAD_CERTIFICATE, field="name", detail=f"issued for {leaf.name}, not for {config.name}"
                )
        return until

    def _log(self, keys: LogKeys) -> str:
        """Hash every leaf again and compare with what was signed last."""
        if not is_there(self._config.place):
            signed = self._signed(FileLatch(self._config.latch))
            if signed:
                recover = "Restore the newest backup of the data; see the operator's page, What to back up."
                detail = f"{recover} The latch says that {signed.size} entries were signed."
                raise missing(Path(self._config.place), detail)
            return "new, nothing logged yet"
        with look(self._config.place) as store:
            signed = self._signed(latch_of(store, self._config.latch))
            head, size = prove(store, signed, lambda checkpoint: self._verify(checkpoint, keys), self._progress)
        before = f", {head.base} in closed logs before it" if head.base else ""
        return f"{head.size} entries, {size} of them signed{before}"

    def _signed(self, latch: Latch) -> Checkpoint | None:
        """Return what was signed last; None if nothing was."""
        note = latch.read()
        with in_file(self._config.latch):
            return Checkpoint.parse(note) if note else None

    def _verify(self, checkpoint: Checkpoint, keys: LogKeys) -> None:
        with in_file(self._config.latch):
            checkpoint.verify(keys.verifier_keys)

    def _peers(self, directory: Directory) -> None:
        by_courier = self._config.courier
        relays = {relay.name for relay in directory.relays()}
        for name in by_courier:
            self._try(f"courier to {name}", partial(_relay, name, relays), lambda _: "is in the directory")
        peers = [relay for relay in directory.relays() if relay.name not in (self._config.name, *by_courier)]
        others = [(f"peer {peer.name}", peer.address) for peer in peers]
        others += [(f"foreign witness {witness.url}", witness.address) for witness in self._config.witness_foreign]
        with ThreadPoolExecutor(_CONNECTIONS_MAX) as pool:
            answers = list(pool.map(_connect, *zip(*others, strict=True))) if others else []
        for (name, address), problem in zip(others, answers, strict=True):
            self.findings.append(Finding(name, f"{address} answers", problem))


def _of(keys: NoteKeys, listed: Sequence[str]) -> list[str]:
    """Return those of the keys listed that are of the same log: the directory lists closed logs too."""
    return [key for key in listed if key.partition("+")[0] == keys.name]


def _connect(name: str, address: str) -> ExchangeError | None:
    next_step = "Ask the operator there, and check the firewalls on the way."
    try:
        socket.create_connection(parse_address(address), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as problem:
        detail = of_system(problem).detail if isinstance(problem, OSError) else str(problem)
        return error(Reason.UNAVAILABLE, field=name, detail=f"{address}: {detail}", next_step=next_step)
    return None


def _relay(name: str, relays: Collection[str]) -> str:
    """Return the name of a relay in the directory, or raise `UNKNOWN_PARTY`."""
    if name not in relays:
        next_step = "Correct the setting `courier`, or put the newest directory in place."
        raise error(Reason.UNKNOWN_PARTY, field=name, detail="no relay of that name", next_step=next_step)
    return name
