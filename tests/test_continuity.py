"""Continuity: what is missing of a sender's messages is named, and nobody can make one vanish or appear."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path

import pytest

from command_setup import infoexchange
from conftest import RECIPIENT, SENDER
from infoexchange.continuity import Continuity, Gap, Link, trace_all
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.manifest import Manifest
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement


def chain(count: int, *, seed: bytes = b"", after: Link | None = None) -> list[Link]:
    links, last = [], after
    for number in range(last.number + 1 if last else 1, count + 1):
        digest = sha256(seed + number.to_bytes(4, "big")).digest()
        links.append(Link(number, digest, last.digest if last else b"", f"file {number}"))
        last = links[-1]
    return links


def verdicts(found: Continuity) -> list[Verdict]:
    return [check.verdict for check in found.report.checks]


def test_whatever_is_left_out_in_between_is_named() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng, links = random.Random(seed), chain(30)
    for _ in range(200):
        shown = sorted(rng.sample(links, rng.randrange(1, 31)), key=lambda link: link.number)
        found = Continuity.trace(SENDER, rng.sample(shown, len(shown)) + shown[:2])
        numbers = {link.number for link in shown}
        missing = [n for n in range(min(numbers), max(numbers)) if n not in numbers]
        assert [n for gap in found.gaps for n in range(gap.first, gap.last + 1)] == missing
        assert all(gap.digest == links[gap.last - 1].digest for gap in found.gaps)
        assert found.links == tuple(shown)
        assert found.report.verdict is (Verdict.INDETERMINATE if missing else Verdict.TOTAL_PASSED)
        assert not found.forks


def test_a_second_history_fails_whichever_of_its_messages_is_shown() -> None:
    links = chain(8)
    for at in range(1, 8):
        other = chain(8, seed=b"other", after=links[at - 1])
        for later in other[:2]:  # the first names the same one before it: then the number is there twice
            found = Continuity.trace(SENDER, [*links, later])
            assert verdicts(found)[0] is Verdict.TOTAL_FAILED, (at, later.number)
            assert found.report.checks[0].reason == Reason.LOG_FORK.word
            assert later in {link for fork in found.forks for link in fork}
        # Without the message that it stands beside, it is the one before or after that contradicts it.
        beside = [link for link in links if link.number != other[0].number]
        assert verdicts(Continuity.trace(SENDER, [*beside, other[0]]))[0] is (
            Verdict.TOTAL_FAILED if at < 7 else Verdict.TOTAL_PASSED
        )


def test_findings_are_told_in_words() -> None:
    links = chain(20)
    found = Continuity.trace(SENDER, [links[0], links[2], links[6], *links[8:20:2]])
    assert found.gaps[:2] == (Gap(2, 2, links[1].digest), Gap(4, 6, links[5].digest))
    assert str(found.gaps[1]) == f"4 to 6 (6 is {links[5].digest.hex()[:16]})"
    [_, check] = found.report.checks
    assert check.reason == "missing"
    assert check.detail.startswith(
        f"10 between 1 and 19 were signed and are not shown: 2 (2 is {links[1].digest.hex()[:16]})"
    )
    whole = Continuity.trace(SENDER, links[3:9]).report.checks[1]
    assert whole.detail == "number 4 to 9: nothing else was signed between them"
    both = trace_all([("b.example", links[0]), ("a.example", links[3]), ("b.example", links[1])])
    assert [(c.sender, len(c.links)) for c in both] == [("a.example", 1), ("b.example", 2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence of five messages of one agency, and the root keys."""
    folder = tmp_path_factory.mktemp("sequence")
    exchange = Exchange({"th": [SENDER.removesuffix(".th.example")], "vn": [RECIPIENT.removesuffix(".vn.example")]})
    mailbox = exchange.mailbox(SENDER)
    for number in range(1, 6):
        digest = mailbox.send(officer_acknowledgement(), to=[RECIPIENT]).subject.envelope_digest
        (folder / f"{number}.ixev").write_bytes(mailbox.evidence(digest).sealed().raw)
    (folder / "roots.pb").write_bytes(exchange.community.roots.raw)
    return folder


def run(capsys: pytest.CaptureFixture[str], files: Path, *names: str) -> tuple[int, dict[str, object], str]:
    capsys.readouterr()
    words = [files / name for name in names]
    code = infoexchange("audit", "sequence", *words, "--roots", files / "roots.pb", "--json")
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, json.loads(printed.out) if printed.out else {}, printed.err


def test_the_command_names_what_is_missing(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, data, _ = run(capsys, files, "5.ixev", "1.ixev", "2.ixev", "2.ixev", "3.ixev", "4.ixev")
    assert (code, data["verdict"], data["senders"][0]["missing"]) == (0, "TOTAL-PASSED", [])
    code, data, _ = run(capsys, files, "1.ixev", "4.ixev", "5.ixev")
    third = Evidence.parse((files / "3.ixev").read_bytes()).digest.hex()
    assert (code, data["senders"][0]["missing"]) == (2, [{"first": 2, "last": 3, "message": third}])
    assert infoexchange("audit", "sequence", files / "2.ixev", "--roots", files / "roots.pb") == 0
    assert "number 2 to 2: nothing else was signed between them" in " ".join(capsys.readouterr().out.split())


def test_what_nobody_signed_shows_nothing(capsys: pytest.CaptureFixture[str], files: Path, tmp_path: Path) -> None:
    raw = bytearray((files / "2.ixev").read_bytes())
    signature = Manifest.parse(Evidence.parse(bytes(raw)).manifest.raw).dsse.signatures[0]
    at = bytes(raw).index(signature)
    raw[at + 5] ^= 1
    (tmp_path / "forged.ixev").write_bytes(raw)
    code, data, _ = run(capsys, files, "1.ixev", str(tmp_path / "forged.ixev"), "3.ixev")
    assert code == 1
    assert [gap["first"] for gap in data["senders"][0]["missing"]] == [2]
    assert [c["reason"] for c in data["checks"] if c["verdict"] == "TOTAL-FAILED"] == ["bad_signature"]
    for junk in (b"", b"junk", bytes(40)):
        (tmp_path / "junk").write_bytes(junk)
        assert run(capsys, files, str(tmp_path / "junk"))[0] == 1
    assert run(capsys, files, str(tmp_path / "none"))[0] == 1


def test_a_file_without_the_senders_keys_proves_no_authorship(files: Path) -> None:
    evidence = Evidence.parse((files / "1.ixev").read_bytes())
    with pytest.raises(ExchangeError) as caught:
        evidence.bundle(bytes(32))
    assert caught.value.reason is Reason.STALE_BUNDLE
