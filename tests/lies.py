"""What lying relays do to their logs, in the region of eleven: each attack as one function, one campaign for all."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from infoexchange.misbehaviour import Misbehaviour
from infoexchange.tlog import Checkpoint, Cosignature
from infoexchange.verdict import Verdict
from region import LIARS_MAX, LOG_KEYS, RELAYS, WITNESS_KEYS, Auditor, National, Region


class Proof(enum.Enum):
    """Whether the checkpoints that an attack leaves behind contradict each other."""

    ALWAYS = enum.auto()
    NEVER = enum.auto()  # each alone could be an honest log's


def split(relay: National, region: Region) -> None:
    """Show one reader the new history and one the old one, and the others either."""
    names = [auditor.name for auditor in region.auditors]
    relay.views = {name: region.rng.randrange(2) for name in (*names, *RELAYS)}
    relay.views |= dict(zip(region.rng.sample(names, 2), (0, 1), strict=True))


def fork(relay: National, region: Region) -> None:
    """Two histories with the same beginning, one for some readers and one for others."""
    relay.histories.append(relay.histories[0].copy())
    for history in relay.histories:
        history.grow(relay.rng, relay.rng.randint(1, 5))
    split(relay, region)


def rollback(relay: National, region: Region) -> None:
    """The state of some hours ago is restored, with its latch, and everything after it is forgotten."""
    old = relay.histories[0]
    size = relay.rng.randint(1, old.ledger.size - 1)
    region.pass_time(relay.rng.uniform(400, 4000))
    relay.histories = [old.copy(size)]


def omission(relay: National, region: Region) -> None:
    """One entry is taken out, and all that followed is signed again without it."""
    old = relay.histories[0]
    kept = list(old.changes)
    del kept[relay.rng.randrange(len(kept) - 1)]
    relay.histories = [old.copy(0)]
    relay.histories[0].add(kept)
    relay.histories[0].grow(relay.rng, relay.rng.randint(1, 5))


def resigning(relay: National, region: Region) -> None:
    """The last entries are exchanged for others, as many, and signed again."""
    old = relay.histories[0]
    count = relay.rng.randint(1, old.ledger.size - 1)
    relay.histories = [old.copy(old.ledger.size - count)]
    relay.histories[0].grow(relay.rng, count)


def clock_back(relay: National, region: Region) -> None:
    """Entries of now are to look as if they had been there for hours."""
    relay.off -= timedelta(seconds=relay.rng.uniform(4000, 40000))
    relay.histories[0].ledger._time = relay.clock  # type: ignore[method-assign]  # the ledger as it is would not sign
    relay.histories[0].grow(relay.rng, relay.rng.randint(1, 5))


def clock_ahead(relay: National, region: Region) -> None:
    """Entries of now are to look as if they had come later."""
    relay.off += timedelta(seconds=relay.rng.uniform(4000, 40000))
    relay.histories[0].grow(relay.rng, relay.rng.randint(1, 5))


def stale(relay: National, region: Region) -> None:
    """Readers are shown for ever what was true once; friends cosign that again."""
    history = relay.histories[0]
    history.shown = (history.checkpoint(), history.cosigned)


ATTACKS: dict[Callable[[National, Region], None], Proof] = {
    fork: Proof.ALWAYS,
    rollback: Proof.ALWAYS,
    omission: Proof.ALWAYS,
    resigning: Proof.ALWAYS,
    clock_back: Proof.ALWAYS,
    clock_ahead: Proof.NEVER,
    stale: Proof.NEVER,
}


@dataclass
class Campaign:
    """Some relays attack in the same way, and their witnesses help them; one honest log is watched besides."""

    attack: Callable[[National, Region], None]
    liars: int
    seed: int
    silent: bool = False

    def run(self) -> Campaign:
        """Let honest times pass, attack, let more time pass, and have auditors swap what they were shown."""
        assert 1 <= self.liars <= LIARS_MAX
        self.rng = random.Random(self.seed)
        self.region = region = Region(self.rng)
        chosen = [region.nations[name] for name in self.rng.sample(RELAYS, self.liars + 1)]
        *self.attackers, self.honest = chosen
        for relay in chosen:
            relay.begin()
        for _ in range(2):
            self._round(chosen)
        assert not any(auditor.found for auditor in region.auditors), "honest so far"
        region.pass_time(600)  # cosignatures are still fresh, and clocks may differ by less
        for relay in self.attackers:
            relay.lies = True
        for relay in self.attackers:
            self.attack(relay, region)
            relay.silent = self.silent
        for _ in range(2):
            self._round(chosen)
        region.pass_time(self.rng.uniform(0, 60))
        for relay in chosen:
            for auditor in self.region.auditors:
                auditor.look(relay, region.others(relay, auditor, swap=True))
        return self

    def _round(self, chosen: list[National]) -> None:
        for relay in chosen:
            for history in relay.histories:
                history.grow(self.rng, self.rng.randint(2, 6))
            self.region.witness(relay)
            self._refresh(relay)
        self.region.pass_time(self.rng.uniform(200, 400))
        for relay in chosen:
            for auditor in self.region.auditors:
                auditor.look(relay, self.region.others(relay, auditor, swap=False))

    def _refresh(self, relay: National) -> None:
        """Friends cosign what readers are shown for ever, so that something about it is new."""
        for history in relay.histories:
            if history.shown:
                shown = Checkpoint.parse(history.shown[1])
                friends = [n for n in self.region.nations.values() if n.lies and n is not relay]
                names = {WITNESS_KEYS[n.name].name for n in friends}
                kept = [line for line in shown.note.signatures if line.name not in names]
                again = [Cosignature.sign(shown, WITNESS_KEYS[n.name].signers[0], now=n.clock()) for n in friends]
                fresh = shown.only_signatures([*kept, *(line.signature for line in again)])
                history.shown = (history.shown[0], fresh.raw)

    # What must be true afterwards

    def undetected(self) -> list[tuple[str, str]]:
        """Auditors that did not notice an attacker."""
        return [
            (auditor.name, relay.name)
            for auditor in self.region.auditors
            for relay in self.attackers
            if relay.name not in {name for name, _ in auditor.found}
        ]

    def slandered(self) -> list[str]:
        """Findings against relays that are honest, and proofs against parties that are."""
        names = {relay.name for relay in self.attackers}
        wrong = [
            f"{auditor.name}: {name}: {check}"
            for auditor in self.region.auditors
            for name, check in auditor.found
            if name not in names
        ]
        accused = {proof.accused.partition("/")[0] for auditor in self.region.auditors for proof in self._held(auditor)}
        return wrong + sorted(accused - names)

    def unproven(self) -> list[str]:
        """Attackers against whose log nobody holds a proof."""
        proven = {proof.origin for a in self.region.auditors for proof in self._held(a) if proof.is_of_log}
        return [relay.name for relay in self.attackers if LOG_KEYS[relay.name].origin not in proven]

    def _held(self, auditor: Auditor) -> list[Misbehaviour]:
        """The proofs of one auditor, each read again and verified with the keys of the accused alone."""
        proofs = [Misbehaviour.parse(raw) for raw in auditor.proofs]
        for proof in proofs:
            relay = proof.accused.partition("/")[0]
            proof.verify((LOG_KEYS if proof.is_of_log else WITNESS_KEYS)[relay].verifier_keys)
        return proofs

    def accused(self) -> bool:
        """Whether every attacker was found to have failed, not only to leave questions open, by somebody."""
        failed = {
            name for a in self.region.auditors for name, check in a.found if check.verdict is Verdict.TOTAL_FAILED
        }
        return {relay.name for relay in self.attackers} <= failed


def faults(campaign: Campaign) -> list[str]:
    """Return in words whatever was not noticed, or noticed wrongly."""
    found = [f"{auditor} did not notice {relay}" for auditor, relay in campaign.undetected()]
    found += [f"slander: {name}" for name in campaign.slandered()]
    if not campaign.accused():
        found.append("an attacker was not found to have failed")
    # A relay that answers no other question than the expected ones may keep the hashes to itself.
    unproven = campaign.unproven()
    if ATTACKS[campaign.attack] is Proof.ALWAYS:
        found += [] if campaign.silent else [f"no proof against {name}" for name in unproven]
    elif len(unproven) < campaign.liars:
        found.append("a proof of what cannot be proven")
    return found
