"""One look after another at one log: what passes, what stays open, what fails, and what is kept of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.log import LogKeys
from infoexchange.misbehaviour import Kind
from infoexchange.tlog import Checkpoint, Cosignature
from infoexchange.tlog.note import NoteSigner, Signature, VerifierKey
from infoexchange.verdict import Verdict
from infoexchange.watch import Known, Sight, Watch
from region import DIRECTORY, LOG_KEYS, RELAYS, WITNESS_KEYS, Auditor, Line, National, Region

NAME = "relay.th.example"
MINUTE = timedelta(minutes=1)


class Place:
    """One relay with a log that grew twice and was cosigned, and one auditor."""

    def __init__(self) -> None:
        self.rng = random.Random(7)
        self.region = Region(self.rng, auditors=("alpha", "bravo"))
        self.relay: National = self.region.nations[NAME]
        for nation in self.region.nations.values():
            nation.off = timedelta(0)
        self.relay.begin()
        self.auditor: Auditor = self.region.auditors[0]
        self.auditor.watch.clock = self.region.time.clock(lambda: timedelta(0))
        self.grow()

    @property
    def history(self):
        return self.relay.histories[0]

    @property
    def known(self) -> Known:
        return self.auditor.known[NAME]

    def grow(self, count: int = 3) -> None:
        self.history.grow(self.rng, count)
        self.region.witness(self.relay)

    def pass_time(self, by: timedelta = MINUTE) -> None:
        self.region.time.now += by

    def look(self, others: dict[str, bytes] | None = None) -> Sight:
        return self.auditor.look(self.relay, others)


@pytest.fixture
def place() -> Place:
    return Place()


def open_or_failed(sight: Sight) -> dict[str, tuple[Verdict, str]]:
    checks = sight.report.checks
    return {c.name: (c.verdict, c.reason) for c in checks if c.verdict is not Verdict.TOTAL_PASSED}


def is_open(reason: str) -> tuple[Verdict, str]:
    return Verdict.INDETERMINATE, reason


def failed(reason: Reason) -> tuple[Verdict, str]:
    return Verdict.TOTAL_FAILED, reason.word


def test_a_log_that_grows_passes(place: Place) -> None:
    first = place.look()
    assert [check.name for check in first.report.checks] == ["checkpoint signed", "witnessed lately", "log only grew"]
    assert first.report.verdict is Verdict.TOTAL_PASSED
    for size in (5, 8, 9):
        place.pass_time()
        sight = place.look({"alpha's file": place.history.checkpoint(), "vn": place.history.cosigned})
        assert open_or_failed(sight) == {}
        assert (sight.known.newest.size, sight.proofs) == (size, ())
        place.grow(3 if size == 5 else 1)
    assert [note.size for note in place.known.notes] == [5, 8, 9]
    assert len(place.known.newest.note.signatures) > 7
    assert "clock only advanced" in [check.name for check in sight.report.checks]


def test_a_relay_that_does_not_answer_proves_nothing(place: Place) -> None:
    place.look()
    before = place.known
    sight = place.auditor.watch.look(NAME, Line(place.relay, "alpha", odds=1.0), before)
    assert open_or_failed(sight) == {"checkpoint signed": is_open("unavailable")}
    assert sight.known is before
    # Files of others are compared all the same.
    other = place.history.copy(3)
    other.grow(place.rng, 2)
    sight = place.auditor.watch.look(NAME, Line(place.relay, "", odds=1.0), before, {"x": other.checkpoint()})
    assert open_or_failed(sight)["same as x"] == failed(Reason.LOG_FORK)
    assert [proof.kind for proof in sight.proofs] == [Kind.SAME_SIZE]


class Shown:
    """A log of fixed answers."""

    def __init__(self, place: Place, **answers: object) -> None:
        self._line, self._answers = Line(place.relay, "alpha"), answers

    def _answer(self, name: str, *args: int) -> object:
        answer = self._answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return getattr(self._line, name)(*args) if answer is None else answer

    def checkpoint(self):
        return self._answer("checkpoint")

    def cosigned(self):
        return self._answer("cosigned")

    def consistency(self, old_size: int, size: int):
        return self._answer("consistency", old_size, size)


def shown(place: Place, known: Known | None = None, **answers: object) -> dict[str, tuple[Verdict, str]]:
    sight = place.auditor.watch.look(NAME, Shown(place, **answers), known or Known())
    if sight.report.verdict is Verdict.TOTAL_FAILED and known:
        assert sight.known is known
    return open_or_failed(sight)


def test_what_is_no_checkpoint_of_this_log_fails(place: Place) -> None:
    raw = place.history.checkpoint()
    checkpoint = Checkpoint.parse(raw)
    stranger = LogKeys(LOG_KEYS[NAME].name, bytes(32), bytes(32)).sign(5, checkpoint.root, now=place.region.time.now)
    shard = LogKeys(f"{NAME}/audit/2027h1", bytes(32), bytes(32)).sign(5, checkpoint.root, now=place.region.time.now)
    late = LOG_KEYS[NAME].sign(5, checkpoint.root, now=place.region.time.now + 6 * MINUTE)
    half = checkpoint.only_signatures(checkpoint.note.signatures[:1])
    for bad, reason in (
        (b"", Reason.MALFORMED),
        (raw[:-1], Reason.MALFORMED),
        (stranger.raw, Reason.BAD_SIGNATURE),
        (half.raw, Reason.BAD_SIGNATURE),
        (late.raw, Reason.NOT_YET_VALID),
    ):
        assert shown(place, checkpoint=bad) == {"checkpoint signed": failed(reason)}
    # The directory held here may be older than the relay's new log.
    assert shown(place, checkpoint=shard.raw) == {"checkpoint signed": is_open("unknown_party")}


def signed_by(place: Place, names: Sequence[str], *, ago: timedelta = timedelta(0)) -> bytes:
    """The newest checkpoint with cosignatures of some nations, made some time ago."""
    checkpoint = Checkpoint.parse(place.history.checkpoint())
    own = [line for line in checkpoint.note.signatures if line.name == checkpoint.origin]
    at = place.region.time.now - ago
    lines = [Cosignature.sign(checkpoint, WITNESS_KEYS[n].signers[0], now=at).signature for n in names]
    return checkpoint.only_signatures([*own, *lines]).raw


OTHERS = [name for name in RELAYS if name != NAME]


def test_too_few_or_too_old_cosignatures_stay_open(place: Place) -> None:
    place.pass_time(timedelta(hours=3))
    name = "witnessed lately"
    assert shown(place, cosigned=b"") == {name: is_open("too_few_witnesses")}
    assert shown(place, cosigned=signed_by(place, OTHERS[:6])) == {name: is_open("too_few_witnesses")}
    assert shown(place, cosigned=signed_by(place, OTHERS[:7])) == {}
    # The own nation's does not count, and neither does one twice.
    assert shown(place, cosigned=signed_by(place, [NAME, *OTHERS[:6]])) == {name: is_open("too_few_witnesses")}
    assert shown(place, cosigned=signed_by(place, OTHERS, ago=15 * MINUTE)) == {}
    assert shown(place, cosigned=signed_by(place, OTHERS, ago=16 * MINUTE)) == {name: is_open("stale")}
    # As many new ones as liars can give do not make the others new.
    old, new = Checkpoint.parse(signed_by(place, OTHERS[3:], ago=16 * MINUTE)), signed_by(place, OTHERS[:3])
    mixed = old.with_signatures(Checkpoint.parse(new).note.signatures)
    assert shown(place, cosigned=mixed.raw) == {name: is_open("stale")}


def test_a_witness_ahead_of_time_is_not_the_relays_fault(place: Place) -> None:
    good, ahead = Checkpoint.parse(signed_by(place, OTHERS[1:8])), signed_by(place, OTHERS[:1], ago=-6 * MINUTE)
    both = good.with_signatures(Checkpoint.parse(ahead).note.signatures).raw
    assert shown(place, cosigned=both) == {}
    few = Checkpoint.parse(signed_by(place, OTHERS[1:7])).with_signatures(Checkpoint.parse(ahead).note.signatures)
    assert shown(place, cosigned=few.raw) == {"witnessed lately": is_open("too_few_witnesses")}


def test_a_cosignature_that_does_not_hold_fails(place: Place) -> None:
    checkpoint = Checkpoint.parse(signed_by(place, OTHERS))
    line = checkpoint.note.signatures[-1]
    broken = Signature(line.name, line.key_id, line.blob[:-1] + bytes([line.blob[-1] ^ 1]))
    bad = checkpoint.only_signatures([*checkpoint.note.signatures[:-1], broken]).raw
    assert shown(place, cosigned=bad) == {"witnessed lately": failed(Reason.BAD_SIGNATURE)}
    # In a file of somebody else it is dropped.
    place.look()
    assert open_or_failed(place.look({"x": bad})) == {}


def test_what_was_shown_long_ago_must_be_cosigned_by_now(place: Place) -> None:
    """A relay has the same old tree cosigned again and again, and shows a larger one to its readers."""
    place.history.grow(place.rng, 1)
    old = Checkpoint.parse(place.history.cosigned)
    for _ in range(3):
        friends = [Cosignature.sign(old, WITNESS_KEYS[n].signers[0], now=place.region.time.now) for n in OTHERS]
        place.history.cosigned = old.only_signatures(
            [*old.note.signatures[:2], *(line.signature for line in friends)]
        ).raw
        sight = place.look()
        assert open_or_failed(sight) == {}
        assert (sight.known.waiting_size, sight.known.newest.size > old.size) == (6, True)
        place.pass_time(6 * MINUTE)
        place.history.grow(place.rng, 1)
    assert open_or_failed(place.look()) == {"witnessed lately": is_open("stale")}
    place.grow()
    assert open_or_failed(place.look()) == {}
    assert place.known.waiting_since is None


def test_an_older_checkpoint_is_a_rollback(place: Place) -> None:
    old, cosigned = place.history.checkpoint(), place.history.cosigned
    place.grow()
    place.look()
    place.pass_time(6 * MINUTE)
    place.history.shown = (old, cosigned)
    sight = place.look()
    assert open_or_failed(sight) == {"log only grew": failed(Reason.LOG_FORK)}
    assert (sight.proofs, sight.known.newest.size) == ((), 8)
    # Signed anew it proves itself.
    again = LOG_KEYS[NAME].sign(5, Checkpoint.parse(old).root, now=place.region.time.now)
    place.history.shown = (again.raw, cosigned)
    sight = place.look()
    assert open_or_failed(sight)["log only grew"] == failed(Reason.LOG_FORK)
    assert [proof.kind for proof in sight.proofs] == [Kind.ORDER]
    sight.proofs[0].verify(LOG_KEYS[NAME].verifier_keys)


def test_a_log_rewritten_proves_itself_and_those_who_cosigned_both(place: Place) -> None:
    place.look()
    place.pass_time()
    kept = place.known
    place.relay.histories = [place.history.copy(2)]
    place.history.grow(place.rng, 6)
    liar = WITNESS_KEYS["relay.vn.example"]
    forged = Checkpoint.parse(place.history.checkpoint())
    line = Cosignature.sign(forged, liar.signers[0], now=place.region.time.now).signature
    sight = place.auditor.watch.look(NAME, Shown(place, checkpoint=forged.with_signatures([line]).raw), kept)
    assert open_or_failed(sight)["log only grew"] == failed(Reason.LOG_FORK)
    by_name = {proof.accused: proof for proof in sight.proofs}
    assert set(by_name) == {LOG_KEYS[NAME].name, liar.name}
    assert {proof.kind for proof in sight.proofs} == {Kind.PREFIX}
    by_name[LOG_KEYS[NAME].name].verify(LOG_KEYS[NAME].verifier_keys)
    by_name[liar.name].verify(liar.verifier_keys)
    assert sight.known is kept
    assert [checkpoint.root for checkpoint in sight.refused] == [
        forged.root,
        Checkpoint.parse(place.history.cosigned).root,
    ]


def test_what_one_auditor_refused_shows_the_fork_to_another(place: Place) -> None:
    """The relay answers nothing that is not asked as it expects, and shows one of them the history of all witnesses."""
    alpha, bravo = place.region.auditors
    bravo.watch.clock = alpha.watch.clock
    for auditor in (alpha, bravo):
        assert auditor.look(place.relay).refused == ()
    place.relay.histories.append(place.history.copy())
    place.relay.views, place.relay.silent = {"bravo": 1}, True
    place.grow(3)
    place.relay.histories[1].grow(place.rng, 2)
    place.pass_time()
    assert open_or_failed(place.look()) == {}
    bravo.look(place.relay, place.region.others(place.relay, bravo, swap=False))
    assert {check.reason for _, check in bravo.found} >= {"log_fork"}
    others = place.region.others(place.relay, alpha, swap=True)
    assert open_or_failed(place.look(others)) == {"same as bravo, refused, 7": is_open("overloaded")}


def test_hashes_that_are_withheld_or_wrong(place: Place) -> None:
    place.look()
    known = place.known
    place.grow()
    place.pass_time()
    withheld = error(Reason.OVERLOADED, detail="no time")
    assert shown(place, known, consistency=withheld) == {"log only grew": is_open("overloaded")}
    for wrong in ([], [bytes(32)], place.history.consistency(4, 8), place.history.consistency(5, 8)[:-1]):
        assert shown(place, known, consistency=wrong) == {"log only grew": failed(Reason.BAD_PROOF)}
    assert shown(place, known) == {}


def test_more_than_is_shown_here_was_shown_to_others(place: Place) -> None:
    frozen = (place.history.checkpoint(), place.history.cosigned)
    place.look()
    place.grow()
    newer = place.history.checkpoint()
    place.history.shown = frozen
    sight = place.look({"vn": newer})
    assert open_or_failed(sight) == {"same as vn": failed(Reason.LOG_FORK)}
    assert sight.proofs == ()
    # A relay that is not hiding shows as much.
    place.history.shown = None
    assert open_or_failed(place.look({"vn": newer, "la": frozen[0]})) == {}


def test_spoilt_files_of_others_stop_nothing(place: Place) -> None:
    place.look()
    place.grow()
    other = LOG_KEYS["relay.vn.example"].sign(9, bytes(32), now=place.region.time.now)
    forged = LogKeys(LOG_KEYS[NAME].name, bytes(32), bytes(32)).sign(9, bytes(32), now=place.region.time.now)
    sight = place.look({"junk": b"junk", "other": other.raw, "forged": forged.raw})
    assert open_or_failed(sight) == {
        "same as junk": is_open("malformed"),
        "same as other": is_open("unknown_party"),
        "same as forged": is_open("bad_signature"),
    }
    assert sight.known.newest.size == 8


def test_a_line_that_nobody_verified_says_nothing_of_time(place: Place) -> None:
    """Whoever adds a line in the log's name, by a key that is not its own, must not make it look late."""
    place.look()
    old = Checkpoint.parse(place.history.checkpoint())
    place.pass_time()
    place.grow()
    later = place.region.time.now + 10 * MINUTE
    stranger = LogKeys(LOG_KEYS[NAME].name, bytes(32), bytes(32)).sign(5, old.root, now=later)
    spoilt = old.with_signatures(stranger.note.signatures[1:]).raw
    assert Checkpoint.parse(spoilt).signed_at == later.timestamp()
    auditor = Auditor("late", Watch(DIRECTORY, clock=lambda: later))
    assert open_or_failed(auditor.look(place.relay, {"x": spoilt})) == {}


def test_a_clock_put_back_is_noticed_without_a_second_signature(place: Place) -> None:
    place.pass_time(timedelta(hours=1))
    place.look()
    place.relay.off = -(timedelta(minutes=30))
    place.history.grow(place.rng, 1)
    sight = place.look()
    assert open_or_failed(sight)["clock only advanced"] == failed(Reason.BAD_FIELD)
    assert sight.proofs == ()


def test_a_new_log_of_the_same_relay_is_looked_at_anew(place: Place) -> None:
    place.look()
    keys = LogKeys(f"{NAME}/audit/2027h1", bytes([77]) * 32, bytes([78]) * 32)
    listing = DIRECTORY.listing
    lines = tuple(map(str, keys.verifier_keys))
    parties = tuple(replace(p, log_keys=lines) if p.name == NAME else p for p in listing.parties)
    directory = Directory(replace(listing, parties=parties), DIRECTORY._dsse, ())
    watch = Watch(directory, clock=place.region.time.clock(lambda: timedelta(0)))
    fresh = keys.sign(1, bytes(32), now=place.region.time.now).raw
    sight = watch.look(NAME, Shown(place, checkpoint=fresh, cosigned=b""), place.known)
    assert open_or_failed(sight) == {"witnessed lately": is_open("too_few_witnesses")}
    assert [note.origin for note in sight.known.notes] == [keys.name]


def test_without_a_quorum_rule_nothing_is_certain(place: Place) -> None:
    listing = replace(DIRECTORY.listing, witness_policy="quorum none\n")
    watch = Watch(Directory(listing, DIRECTORY._dsse, ()), clock=place.region.time.clock(lambda: timedelta(0)))
    sight = watch.look(NAME, Line(place.relay, "alpha"), Known())
    assert open_or_failed(sight) == {"witnessed lately": is_open("no_quorum_rule")}


def test_witnesses_of_a_policy_count_although_no_relay_has_them(place: Place) -> None:
    outsider = NoteSigner(
        VerifierKey.make("witness.example", 4, WITNESS_KEYS[NAME].verifier_keys[0].public),
        WITNESS_KEYS[NAME].signers[0].sign,
    )
    text = f"witness w {outsider.key}\nquorum w\n"
    parties = tuple(replace(p, witness_keys=()) for p in DIRECTORY.listing.parties)
    directory = Directory(replace(DIRECTORY.listing, witness_policy=text, parties=parties), DIRECTORY._dsse, ())
    watch = Watch(directory, clock=place.region.time.clock(lambda: timedelta(0)))
    checkpoint = Checkpoint.parse(place.history.checkpoint())
    line = Cosignature.sign(checkpoint, outsider, now=place.region.time.now).signature
    raw = checkpoint.with_signatures([line]).raw
    sight = watch.look(NAME, Shown(place, cosigned=raw), Known())
    assert open_or_failed(sight) == {}


def test_only_so_many_checkpoints_are_kept(place: Place) -> None:
    for _ in range(70):
        place.history.grow(place.rng, 1)
        place.history.cosigned = b""
        place.look()
    assert len(place.known.notes) == 64
    assert place.known.newest.size == 75
