"""Nearby: the other relays, each step of the way to them by itself, and whose clock is off.

A witness states the time whenever it cosigns. So each is asked to cosign once more what it has cosigned already, over
the way that the relay itself takes: that shows the way, whether it takes this relay, its witness, and its clock.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infoexchange import certificates
from infoexchange.cli.output import of_system
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party
from infoexchange.tlog import Checkpoint, Cosignature, VerifierKey
from infoexchange.tlog.checkpoint import SKEW_MAX
from infoexchange.transport import RemoteRelay, open_channel
from infoexchange.transport.witness import RemoteWitness
from infoexchange_relay.cli.doctor.finding import Finding, State, attention, of_problem, well, wrong
from infoexchange_relay.config import parse_address

# Implementation constants
_SECONDS = 5.0  # a relay on the other side of the world answers within one
_CONNECTIONS_MAX = 16  # a region has about as many relays
_OFF = timedelta(seconds=10)  # a clock that is kept by NTP is off by milliseconds
_OFF_BADLY = SKEW_MAX / 2  # halfway to where others refuse what is signed here
_SOON = timedelta(days=7)  # before a certificate ends
_THERE = "Ask the operator there, and check the firewalls on the way."

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Nearby:
    """What was found of one relay.

    Attributes:
        findings: One for each step that was taken.
        ahead: By how much this clock is ahead of its witness's; None where it did not say.
    """

    findings: Sequence[Finding]
    ahead: timedelta | None = None


class Visit:
    """One visit to each of the other relays, in this relay's name."""

    def __init__(
        self, directory: Directory, certificate: bytes, key: bytes, notes: Sequence[bytes], *, clock: Clock
    ) -> None:
        """Hold what it needs.

        Args:
            directory: In force.
            certificate: PEM certificate of this relay.
            key: PEM private key of this relay.
            notes: Signed checkpoints of its log, of which each witness has cosigned one last.
            clock: What is compared with the witnesses' clocks.
        """
        self._directory = directory
        self._certificate = certificate
        self._key = key
        self._checkpoints = {one.size: one for one in map(Checkpoint.parse, notes)}
        self._clock = clock

    def all(self, peers: Sequence[Party]) -> Iterator[Finding]:
        """Visit every peer at the same time, and compare the clocks of all."""
        with ThreadPoolExecutor(_CONNECTIONS_MAX) as pool:
            visits = list(pool.map(self.one, peers))
        yield clock_finding({p.name: v.ahead for p, v in zip(peers, visits, strict=True) if v.ahead is not None})
        for visit in visits:
            yield from visit.findings

    def one(self, peer: Party) -> Nearby:
        """Take one step after the other; whatever fails is the last."""
        found: list[Finding] = []
        cas = self._directory.nation(peer.nation).tls_cas
        roots = b"".join(certificates.to_pem(ca) for ca in cas)
        try:
            found.append(self._handshake(peer, roots))
        except (OSError, ValueError) as problem:
            return Nearby([_unreachable(peer, problem)])
        if found[0].state is State.WRONG:
            return Nearby(found)
        channel = open_channel(peer.address, name=peer.name, roots=roots, certificate=self._certificate, key=self._key)
        with contextlib.closing(channel):
            patience = timedelta(seconds=_SECONDS)
            name = f"{peer.name} accepts us"
            try:
                newer = RemoteRelay(channel, timeout=patience, address=peer.address).directories(
                    self._directory.version
                )
            except ExchangeError as problem:
                step = "See whether `check` finds fault with certificate or directory here, and ask the operator there."
                return Nearby([*found, wrong(name, f"{problem.reason.word}: {problem.detail}", step)])
            found.append(well(name, "it answers calls in this relay's name"))
            if newer:
                step = "The relay takes it within a minute; if not, look for `directory_refused` in its log."
                found.append(attention(f"directory at {peer.name}", f"{len(newer)} newer versions than here", step))
            if not peer.witness_keys or not self._checkpoints:
                return Nearby(found)
            finding, ahead = self._witness(peer, RemoteWitness(channel, timeout=patience, address=peer.address))
            return Nearby([*found, finding], ahead)

    def _handshake(self, peer: Party, roots: bytes) -> Finding:
        """Connect, and have the peer show its certificate; ours is shown in the next step."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=roots.decode())
        context.set_alpn_protocols(["h2"])
        name = f"{peer.name} TLS"
        with socket.create_connection(parse_address(peer.address), timeout=_SECONDS) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=peer.name) as secured:
                    der = secured.getpeercert(binary_form=True) or b""
            except ssl.SSLCertVerificationError as problem:
                step = "Ask the operator there; until it is put right nothing is forwarded to it."
                return wrong(name, f"{peer.address}: its certificate: {problem.verify_message}", step)
            except ssl.SSLError as problem:
                return wrong(name, f"{peer.address}: no TLS 1.3: {problem.reason or problem}", _THERE)
        until = certificates.load(der).not_valid_after_utc
        said = f"{peer.address}: certificate until {until:%Y-%m-%d}"
        if until - self._clock() < _SOON:
            return attention(name, said, "Tell the operator there that it ends.")
        return well(name, said)

    def _witness(self, peer: Party, witness: RemoteWitness) -> tuple[Finding, timedelta | None]:
        """Have the peer's witness cosign what it has cosigned already, and see what time it says."""
        name = f"{peer.name} witness"
        size = max(self._checkpoints)
        try:
            for _ in range(2):  # the first answer may only tell the size
                checkpoint = self._checkpoints[size]
                before = self._clock()
                answer = witness.add_checkpoint(size, (), checkpoint.raw)
                after = self._clock()
                if answer.lines:
                    said = _stated(peer, checkpoint, answer.lines)
                    return well(name, f"cosigns, {size} entries"), before + (after - before) / 2 - said
                if answer.size not in self._checkpoints:
                    break
                size = answer.size
        except ExchangeError as problem:
            if problem.reason is Reason.NOT_YET_VALID:
                step = "Set this machine's clock: see the finding about the clock, and whether NTP runs."
                return wrong(name, "it takes our checkpoint for one of the future", step), None
            return of_problem(name, problem), None
        if answer.size > max(self._checkpoints):
            return well(name, f"has cosigned {answer.size} entries by now"), None
        step = "Wait for the next round; `witness_failed` in the relay's log says what is wrong."
        return attention(name, f"has cosigned {answer.size} of {max(self._checkpoints)} entries", step), None


def clock_finding(ahead: dict[str, timedelta]) -> Finding:
    """Return what the clocks of all witnesses together say about this one: half of them cannot move the middle."""
    if not ahead:
        step = "It is compared once another nation's witness has cosigned; keep NTP running."
        return attention("clock", "no witness has said what time it is", step)
    off = timedelta(seconds=statistics.median(one.total_seconds() for one in ahead.values()))
    word = "ahead of" if off > timedelta(0) else "behind"
    said = f"{abs(off.total_seconds()):.0f} s {word} the clocks of {len(ahead)} witnesses"
    step = "Have this machine's clock kept by NTP (chrony or systemd-timesyncd), and set it while the relay is stopped."
    if abs(off) > _OFF_BADLY:
        return wrong("clock", f"{said}; others soon refuse what is signed here", step)
    if abs(off) > _OFF:
        return attention("clock", said, step)
    odd = [name for name, one in sorted(ahead.items()) if abs(one - off) > _OFF]
    if odd:
        return attention(
            "clock", f"it agrees with the others; that of {', '.join(odd)} does not", "Tell the operator there."
        )
    return well("clock", f"within {_OFF.seconds} s of {len(ahead)} witnesses")


def _stated(peer: Party, checkpoint: Checkpoint, lines: bytes) -> datetime:
    """Return the time in a witness's answer, whose signature holds whatever this clock says."""
    keys = {(key.name, key.id): key for key in map(VerifierKey.parse, peer.witness_keys)}
    times = []
    for line in Cosignature.parse_all(lines):
        key = keys.get((line.signature.name, line.signature.key_id))
        if key is not None:
            at = datetime.fromtimestamp(line.time, UTC)
            line.verify(checkpoint, key, now=at)
            times.append(at)
    if not times:
        raise error(Reason.BAD_SIGNATURE, field=peer.name, detail="no line of its witness's keys")
    return max(times) + timedelta(seconds=0.5)  # it says whole seconds, rounded down


def _unreachable(peer: Party, problem: OSError | ValueError) -> Finding:
    detail = of_system(problem).detail if isinstance(problem, OSError) else str(problem)
    return wrong(f"{peer.name} reachable", f"{peer.address}: {detail}", _THERE)
