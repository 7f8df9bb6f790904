"""The commands of an auditor: every finding and the verdict word printed, an exit code, one line when they cannot."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_setup import infoexchange
from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.envelope import Envelope
from infoexchange.evidence import Evidence
from infoexchange.suites import HYBRID, HYBRID_KEM, Suite
from infoexchange.testing import Exchange, FakeClock
from infoexchange.testing.sites import environment
from infoexchange.v1 import evidence_pb2
from messages import officer_acknowledgement

PURPOSE = "zebra-quintet-purpose"
# Looks like a socket to modules that subclass it, and can never become one.
WITHOUT_SOCKETS = """\
import _socket, socket, sys
class Blocked(socket.socket):
    def __init__(self, *args, **settings):
        raise SystemExit("the network was touched")
socket.socket = Blocked
socket.getaddrinfo = _socket.getaddrinfo = socket.create_connection = Blocked
from infoexchange.cli import main
code = main(sys.argv[1:])
print("grpc" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def evidence_of(exchange: Exchange, *opened_by: str, suite: Suite = HYBRID, witnessed: bool = True) -> Evidence:
    sender = exchange.mailbox(SENDER)
    draft = Draft(officer_acknowledgement(purpose=PURPOSE), (RECIPIENT, SECOND), suite=suite)
    [receipt] = sender.send_all([draft])
    for name in opened_by:
        for delivery in exchange.mailbox(name).receive():
            exchange.mailbox(name).acknowledge(delivery)
    if witnessed:
        exchange.witness()
    return sender.evidence(receipt.subject.envelope_digest)


def community() -> Exchange:
    # A little in the past: the command looks at the real clock, and refuses cosignatures from the future.
    exchange = Exchange(AGENCIES, clock=FakeClock(datetime.now(UTC) - timedelta(minutes=1)))
    for name in (SENDER, RECIPIENT, SECOND):
        exchange.mailbox(name)
    return exchange


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return community()


@pytest.fixture(scope="module")
def files(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    whole = evidence_of(exchange, RECIPIENT, SECOND)
    small = evidence_of(exchange, RECIPIENT, SECOND, suite=HYBRID_KEM)
    half = evidence_of(exchange, RECIPIENT)
    unwitnessed = evidence_of(exchange, RECIPIENT, SECOND, witnessed=False)
    message = evidence_pb2.Evidence.FromString(small.raw)
    del message.events[:]
    written = {
        "whole.ixev": whole.raw,
        "small.ixev": small.raw,
        "sealed.ixev": whole.sealed().raw,
        "half.ixev": half.raw,
        "unwitnessed.ixev": unwitnessed.raw,
        "no-events.ixev": message.SerializeToString(deterministic=True),
        "truncated.ixev": whole.raw[:-1],
        "longer.ixev": whole.raw + b"\0",
        "empty.ixev": b"",
        "junk.ixev": b"\x1b[2Jjunk\n" * 40,
        "roots.pb": exchange.community.roots.raw,
        "directory.pb": exchange.directory.raw,
        "other-roots.pb": community().community.roots.raw,
    }
    for name, raw in written.items():
        (folder / name).write_bytes(raw)
    (folder / "folder").mkdir()
    return folder


@pytest.fixture(autouse=True)
def here(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


def verify(capsys: pytest.CaptureFixture[str], *words: object, roots: str = "roots.pb") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    capsys.readouterr()
    code = infoexchange("evidence", "verify", *words, "--roots", roots)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out, printed.err


def reports(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


# Verdicts

WORDS = {0: "TOTAL-PASSED", 1: "TOTAL-FAILED", 2: "INDETERMINATE"}
CASES = {
    "whole.ixev": (0, ""),
    "small.ixev": (0, ""),
    "sealed.ixev": (0, ""),
    "half.ixev": (2, f"outcome for {SECOND}"),
    "unwitnessed.ixev": (2, "checkpoints witnessed"),
    "no-events.ixev": (1, f"statement of {RECIPIENT}"),
    "truncated.ixev": (1, "format"),
    "longer.ixev": (1, "format"),
    "empty.ixev": (1, "format"),
    "junk.ixev": (1, "format"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_word_the_code_and_what_stands_in_the_way(capsys, name):
    code, place = CASES[name]
    assert (verify(capsys, name)[0], verify(capsys, name)[2]) == (code, "")
    out = verify(capsys, name)[1]
    assert out.splitlines()[-1] == f"{WORDS[code]}  {name}"
    [report] = reports(verify(capsys, name, "--json")[1])
    assert (report["file"], report["verdict"]) == (name, WORDS[code])
    for check in report["checks"]:
        assert check["name"] in out
        assert check["detail"] in out
    assert next((c["name"] for c in report["checks"] if c["verdict"] == WORDS[code] != WORDS[0]), "") == place
    assert "\x1b" not in out


def test_the_shape_of_json_is_stable(capsys):
    [report] = reports(verify(capsys, "whole.ixev", "--json")[1])
    assert list(report) == ["file", "verdict", "checks"]
    assert {tuple(check) for check in report["checks"]} == {("name", "verdict", "reason", "detail")}
    names = [check["name"] for check in report["checks"]]
    assert names[:4] == ["directory", "sender's keys", "sender's certificate not revoked", "sender's signature"]
    assert names[-1] == "checkpoints witnessed"
    assert len(names) == len(set(names))


def test_of_many_files_the_worst_decides(capsys):
    for names, worst in (
        (("whole.ixev", "half.ixev"), 2),
        (("half.ixev", "junk.ixev", "whole.ixev"), 1),
        (("whole.ixev", "small.ixev"), 0),
    ):
        code, out, _ = verify(capsys, *names, "--json")
        assert (code, [r["file"] for r in reports(out)]) == (worst, list(names))


def test_a_missing_file_does_not_hide_the_others(capsys):
    code, out, err = verify(capsys, "nothing.ixev", "folder", "whole.ixev", "--json")
    assert (code, [r["verdict"] for r in reports(out)]) == (1, ["TOTAL-PASSED"])
    assert [json.loads(line)["field"] for line in err.splitlines()] == ["nothing.ixev", "folder"]


def test_the_auditors_own_directory_can_stand_in(capsys, exchange):
    bare = evidence_pb2.Evidence.FromString(Path("whole.ixev").read_bytes())
    bare.ClearField("directory")
    Path("bare.ixev").write_bytes(bare.SerializeToString(deterministic=True))
    assert verify(capsys, "bare.ixev")[0] == 1
    assert verify(capsys, "bare.ixev", "--directory", "directory.pb")[0] == 0


def test_roots_of_another_community_prove_nothing(capsys):
    code, out, _ = verify(capsys, "whole.ixev", "--json", roots="other-roots.pb")
    [report] = reports(out)
    assert (code, report["verdict"]) == (1, "TOTAL-FAILED")
    assert [(c["name"], c["reason"]) for c in report["checks"]] == [("directory", "bad_signature")]


# Changed bytes

FORMAT = {"malformed", "not_canonical", "bad_field", "unknown_version", "too_large"}
# What a changed manifest says wrongly before its signature is judged: by whom, with which keys, for whom.
CLAIMS = {"unknown_party", "stale_bundle", "suite_not_accepted", "bad_certificate", "not_yet_valid", "bad_proof"}


def test_no_changed_byte_of_the_envelope_gets_through(capsys, tmp_path):
    """Wherever a byte of the message changes, its file fails, and for a reason that fits the place."""
    raw = Path("small.ixev").read_bytes()
    envelope = Evidence.parse(raw).envelope
    assert envelope is not None
    start = raw.index(envelope.raw)
    places = _sample(range(start, start + len(envelope.raw)), 40)
    body = raw.index(envelope.body)
    hints = _hints(raw)
    for place, report in _flipped(capsys, tmp_path, raw, [*places, body]).items():
        failed = {c["reason"] for c in report["checks"] if c["verdict"] == "TOTAL-FAILED"}
        if place in hints:
            continue
        assert report["verdict"] == "TOTAL-FAILED", place
        assert failed <= FORMAT | CLAIMS | {"bad_signature"}, (place, failed)
        if body <= place < body + len(envelope.body):
            assert failed == {"bad_signature"}, (place, failed)


def test_no_changed_byte_of_the_file_gets_through(capsys, tmp_path):
    """A byte that decides nothing is a hint, or says whose a cosignature is; then nothing is reported otherwise."""
    raw = Path("whole.ixev").read_bytes()
    [unchanged] = reports(verify(capsys, "whole.ixev", "--json")[1])
    hints = _hints(raw) | _names_of_cosignatures(raw)
    for place, report in _flipped(capsys, tmp_path, raw, _sample(range(len(raw)), 40)).items():
        if report["verdict"] == "TOTAL-PASSED":
            assert place in hints
            assert report["checks"] == unchanged["checks"]


def _sample(places: range, count: int) -> list[int]:
    seed = random.randrange(2**32)
    print("seed", seed, file=sys.__stdout__)
    return sorted(random.Random(seed).sample(places, count))


def _hints(raw: bytes) -> set[int]:
    """The places of key ids."""
    return {i for found in re.finditer(rb"\x12\x10[0-9a-f]{16}", raw) for i in range(found.start() + 2, found.end())}


def _names_of_cosignatures(raw: bytes) -> set[int]:
    """The places of a witness's name and key id: a line of nobody known is ignored; its other key still counts."""
    lines = re.finditer(rb"\xe2\x80\x94 [a-z.]+/witness [A-Za-z0-9+/]{6}", raw)
    return {i for found in lines for i in range(found.start(), found.end())}


def _flipped(capsys, folder: Path, raw: bytes, places: list[int]) -> dict[int, dict[str, object]]:
    """The report on each file in which one bit of one byte is changed; the command's code is checked against them."""
    names = []
    for place in places:
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        names.append(folder / str(place))
        names[-1].write_bytes(changed)
    code, out, err = verify(capsys, *names, "--json")
    assert (code, err) == (1, "")
    return {int(Path(str(r["file"])).name): r for r in reports(out)}


# Without network, in a process of its own


@pytest.mark.parametrize("name", ["whole.ixev", "half.ixev", "junk.ixev"])
def test_it_works_where_no_socket_can_be_made(name):
    command = [sys.executable, "-c", WITHOUT_SOCKETS, "evidence", "verify", name, "--roots", "roots.pb"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    code = CASES[name][0]
    assert (done.returncode, done.stderr) == (code, "False\n")  # gRPC is not even loaded
    assert done.stdout.splitlines()[-1] == f"{WORDS[code]}  {name}"


# What cannot be read

BAD = {
    "missing file": (1, "evidence make", ("verify", "nothing.ixev", "--roots", "roots.pb")),
    "folder": (1, "Name a file", ("verify", "folder", "--roots", "roots.pb")),
    "through a file": (1, "a part of this path", ("verify", "whole.ixev/x", "--roots", "roots.pb")),
    "missing roots": (1, "maintainers", ("verify", "whole.ixev", "--roots", "nothing.pb")),
    "folder as roots": (1, "Name a file", ("verify", "whole.ixev", "--roots", "folder")),
    "evidence as roots": (1, "whole.ixev", ("verify", "whole.ixev", "--roots", "whole.ixev")),
    "missing directory": (1, "d.pb", ("verify", "whole.ixev", "--roots", "roots.pb", "--directory", "d.pb")),
    "junk directory": (1, "junk.ixev", ("verify", "whole.ixev", "--roots", "roots.pb", "--directory", "junk.ixev")),
    "wrong directory": (
        1,
        "directory.pb",
        ("verify", "whole.ixev", "--roots", "other-roots.pb", "--directory", "directory.pb"),
    ),
    "no roots": (3, "--roots", ("verify", "whole.ixev")),
    "no file": (3, "FILE", ("verify", "--roots", "roots.pb")),
    "show nothing": (1, "evidence make", ("show", "nothing.ixev")),
    "show a folder": (1, "Name a file", ("show", "folder")),
    "show junk": (1, "junk.ixev", ("show", "junk.ixev")),
    "show a part": (1, "truncated.ixev", ("show", "truncated.ixev")),
    "make of no id": (1, "64 hexadecimal", ("make", "abc", "--home", "folder", "--out", "new.ixev")),
    "make without home": (1, "keygen", ("make", "00" * 32, "--home", "folder", "--out", "new.ixev")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_a_code(capsys, case):
    code, word, words = BAD[case]
    capsys.readouterr()
    assert infoexchange("evidence", *words) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert word in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_of_somebody_else_is_named(capsys, tmp_path):
    file = tmp_path / "locked.ixev"
    file.write_bytes(Path("whole.ixev").read_bytes())
    file.chmod(0)
    code, out, err = verify(capsys, file)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no access" in err


def test_a_file_too_large_for_evidence_is_not_read_whole(capsys, tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    code, out, err = verify(capsys, tmp_path / "large")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "too_large" in err


# Show


@pytest.mark.parametrize("name", ["whole.ixev", "sealed.ixev", "half.ixev", "unwitnessed.ixev"])
def test_show_tells_what_is_there_and_judges_nothing(capsys, name):
    capsys.readouterr()
    assert infoexchange("evidence", "show", name) == 0
    text = capsys.readouterr().out
    assert infoexchange("evidence", "show", name, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verified"] is False
    assert "Not verified" in text
    assert not [word for word in (*WORDS.values(), "ok") if re.search(rf"\b{word}\b", text)]
    evidence = Evidence.parse(Path(name).read_bytes())
    absent = ["subject", "domain", "marks", "case", "names of files", "content"]
    assert data["not_in_file"] == absent + ["ciphertext"] * (evidence.envelope is None)
    assert all(word in text for word in data["not_in_file"])
    assert len(data["events"]) == len(evidence.events)
    assert (data["sender"], data["recipients"], data["status"]) == (SENDER, f"{RECIPIENT}, {SECOND}", "EXERCISE")
    assert data["message"] == evidence.digest.hex()
    for event in data["events"]:
        assert event["what"] in text


def test_nothing_of_the_message_is_printed(capsys):
    # What the recipient reads is the marker; what an auditor gets to see never is.
    capsys.readouterr()
    for name in CASES:
        infoexchange("evidence", "show", name)
        infoexchange("evidence", "verify", name, "--roots", "roots.pb")
        infoexchange("evidence", "verify", name, "--roots", "roots.pb", "--json")
    printed = capsys.readouterr()
    for marker in (PURPOSE, "OfficerAcknowledgement", "PIRACY", "AMBER"):
        assert marker not in printed.out + printed.err
    assert isinstance(Evidence.parse(Path("whole.ixev").read_bytes()).envelope, Envelope)
