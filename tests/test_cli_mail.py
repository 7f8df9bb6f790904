"""The commands of an agency on real relays: send, receive, prove; and one line and no loss when something fails."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalogue_messages import request
from command_setup import infoexchange
from infoexchange import cli
from infoexchange.catalogue import examples, marks, text
from infoexchange.cli.mail import inbox_of
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.evidence import Evidence
from infoexchange.home import Home
from infoexchange.testing.sites import Sites, environment
from infoexchange.transport.remote import RemoteRelay

# One recipient for each kind of test, so that none takes another's messages away.
OFFICES = ("duty.cert", "watch.maritime", "desk.cut", "desk.full", "desk.late", "desk.sour")
SENDER = "desk.narcotics.xa.example"
CERT, WATCH, CUT, FULL, LATE, SOUR = (f"{office}.xb.example" for office in OFFICES)
RELAY, PEER = "relay.xa.example", "relay.xb.example"
MARKS = ("--op-status", "EXERCISE", "--tlp", "AMBER", "--pap", "AMBER", "--purpose", "joint exercise")
SECRET = "knives climbed aboard"  # in piracy.csv, in a field that may name persons


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory):
    made = Sites.make(
        tmp_path_factory.mktemp("sites") / "x", {"xa": ["desk.narcotics"], "xb": OFFICES}, now=datetime.now(UTC)
    )
    for name, content in {"stix.json": "indicators.stix.json", "piracy.csv": "piracy.csv"}.items():
        (made.folder / name).write_bytes(examples.read(content))
    head, *rows = csv.reader(examples.read("piracy.csv").decode().splitlines(keepends=True))
    with (made.folder / "four.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows[:4]])
    (made.folder / "message.json").write_text(text.to_json(request()))
    with made.running():
        for office in OFFICES:  # a first connection publishes the keys
            assert infoexchange("receive", "--home", made.home(f"{office}.xb.example")) == 0
        yield made


@pytest.fixture(autouse=True)
def here(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sites.folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command; return its exit code, standard output and standard error."""

    def done(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = infoexchange(*words)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return done


@pytest.fixture
def failing(run):
    """Run a command that must fail with a code; return its one line."""

    def line(code: int, *words: object) -> str:
        found, out, err = run(*words)
        assert (found, out, err.count("\n")) == (code, "", 1), (out, err)
        return err

    return line


def send(run, *to: str, file: str = "message.json", home: Path | str = SENDER) -> str:
    """Send the message and return its id."""
    names = [word for name in to for word in ("--to", name)]
    code, out, err = run("send", file, "--home", home, *names, "--type", "RequestForInformation", "--json")
    assert (code, err) == (0, "")
    [message] = json.loads(out)["messages"]
    return message["id"]


def receive(run, name: Path | str, code: int = 0) -> dict[str, object]:
    found, out, _ = run("receive", "--home", name, "--json")
    assert found == code
    return json.loads(out)


def arrived(run, name: Path | str, *ids: str) -> list[str]:
    """Receive until these messages have come, each once; return all that came."""
    came: list[str] = []
    for _ in range(50):
        came += [message["id"] for message in receive(run, name)["messages"]]
        if set(ids) <= set(came):
            break
    assert set(ids) <= set(came)
    assert len(came) == len(set(came))
    return came


def outbox(home: Path | str = SENDER) -> tuple[int, int]:
    """How many messages were ever sealed, and how many wait to be sent."""
    with Home.open(home).spool() as spool:
        return spool.standing().sequence, len(spool.unsent(1000))


def a_copy(home: Path | str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home, tmp_path / "home"))


def start(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, after a piece of program."""
    code = f"import os, signal, sys\nfrom infoexchange import cli\n{program}\nsys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


# What is promised


def test_a_message_goes_all_the_way(run, sites, tmp_path):
    digest = send(run, CERT, WATCH)
    for name in (CERT, WATCH):
        assert arrived(run, name, digest) == [digest]
        folder = inbox_of(Path(name), bytes.fromhex(digest))
        modes = {p.relative_to(name).name: p.stat().st_mode & 0o777 for p in (folder.parent, folder, *folder.iterdir())}
        assert modes == {"inbox": 0o700, digest: 0o700, "envelope.bin": 0o600, "message.json": 0o600}
        assert text.from_json("RequestForInformation", (folder / "message.json").read_text()) == request()
        assert Envelope.parse((folder / "envelope.bin").read_bytes()).digest.hex() == digest
        assert receive(run, name) == {"messages": [], "refused": []}
    code, out, _ = run("receipts", digest.upper(), "--home", SENDER, "--json")
    events = json.loads(out)["events"]
    assert (code, json.loads(out)["id"]) == (0, digest)
    assert f"{RELAY} accepted it from {SENDER}" in [event["what"] for event in events]
    for name in (CERT, WATCH):
        assert f"{name} stated, signed, that it was opened" in [event["what"] for event in events]
    code, out, _ = run("receipts", digest, "--home", CERT)
    assert (code, out.splitlines()[0].split()) == (0, ["logged", "what", "entry"])


def test_both_sides_make_evidence_that_holds(run, failing, tmp_path):
    digest = send(run, CERT)
    assert digest in arrived(run, CERT, digest)
    # A recipient is shown its own relay's log: acceptance by the other one is an open question there.
    open_there = {"accepted by the sender's relay"}
    for home, may_be_open, *sealed in ((SENDER, set()), (CERT, open_there), (SENDER, set(), "--sealed")):
        for attempt in range(200):  # witnesses come round every second
            file = tmp_path / f"{home}{len(sealed)}-{attempt}.ixev"
            code, out, err = run("evidence", "make", digest, "--home", home, "--out", file, *sealed)
            assert (code, err) == (0, "")
            code, found, _ = run("evidence", "verify", file, "--roots", "roots.pb", "--json")
            checks = json.loads(found)["checks"]
            still_open = {check["name"] for check in checks if check["verdict"] == "INDETERMINATE"}
            if code != 2 or still_open <= may_be_open:
                break
            time.sleep(0.1)
        assert (code, still_open) in ((0, set()), (2, may_be_open))
        assert f"infoexchange evidence verify {file} --roots" in out
        assert (Evidence.parse(file.read_bytes()).envelope is None) == bool(sealed)
        kept = file.read_bytes()
        assert "not overwritten" in failing(1, "evidence", "make", digest, "--home", home, "--out", file)
        assert file.read_bytes() == kept
    key = Path(SENDER) / "identity.key"
    before = key.read_bytes()
    assert "not overwritten" in failing(1, "evidence", "make", digest, "--home", SENDER, "--out", key)
    assert key.read_bytes() == before


@pytest.mark.parametrize(("name", "file", "count"), [("stix", "stix.json", 1), ("piracy", "piracy.csv", 8)])
def test_files_of_other_formats_are_sent_under_marks(run, name, file, count):
    words = ("send", file, "--home", SENDER, "--to", WATCH, "--format", name, *MARKS, "--suite", "HYBRID-KEM")
    code, out, err = run(*words, "--json")
    sent = json.loads(out)
    assert (code, err, sent["sent"], sent["waiting"], sent["earlier"]) == (0, "", count, 0, [])
    assert {message["problem"] for message in sent["messages"]} == {""}
    ids = [message["id"] for message in sent["messages"]]
    came = arrived(run, WATCH, *ids)
    assert [digest for digest in came if digest in ids] == ids  # in the order of the file
    for digest in ids:
        kept = json.loads((inbox_of(Path(WATCH), bytes.fromhex(digest)) / "message.json").read_text())
        assert kept["handling"]["op_status"] == "OP_STATUS_EXERCISE"
    code, out, _ = run(*words)
    assert (code, out.splitlines()[-1]) == (0, f"{count} of {count} messages are durable at the relay and logged.")
    assert "note:" in out or not sent["notes"]


def test_show_hides_personal_data(run):
    words = ("send", "four.csv", "--home", SENDER, "--to", CERT, *CSV, *MARKS, "--suite", "HYBRID-KEM")
    for as_json in ((), ("--json",)):
        arrived(run, CERT)
        assert run(*words)[0] == 0
        out = ""
        while "MaritimeIncidentReport" not in out:
            code, out, _ = run("receive", "--home", CERT, "--show", *as_json)
            assert code == 0
        assert SECRET not in out
        assert marks.REDACTED in out
        assert "MV Exercise" in out
    kept = [file.read_text() for file in Path(CERT, "inbox").rglob("message.json")]
    assert any(SECRET in one for one in kept)  # hidden on the screen, not from the agency


def test_a_group_and_a_second_recipient_do_not_double(run):
    digest = send(run, "everyone", CUT)
    assert arrived(run, CUT, digest).count(digest) == 1


# Bad input

EMPTY_BUNDLE = '{"type": "bundle", "id": "bundle--36d5bf34-c578-5682-b282-634719c6887b", "objects": []}'
BROKEN = {
    "missing": None,
    "rule": text.to_json(request()).replace('"Who owns it?"', '""'),
    "unknown-field": text.to_json(request()).replace('"background"', '"bakground"'),
    "not-json": '{"handling": ',
    "not-utf8": text.to_json(request()).encode().replace(b"Seen", b"S\xff\xfen"),
    "empty": "",
    "empty-bundle": EMPTY_BUNDLE,
    "only-heading": examples.read("piracy.csv").partition(b"\n")[0],
}
JSON, CSV = ("--type", "RequestForInformation"), ("--format", "piracy")
# File, options, exit code, words of the one line.
BAD = {
    "missing file": ("missing", JSON, 1, "no such file"),
    "folder": (SENDER, JSON, 1, "Name a file"),
    "broken rule": ("rule", JSON, 1, "rule: questions[0].text"),
    "unknown field": ("unknown-field", JSON, 1, "unknown-field: bakground"),
    "not JSON": ("not-json", JSON, 1, "not-json: line 1"),
    "not UTF-8": ("not-utf8", JSON, 1, "UTF-8"),
    "empty file": ("empty", JSON, 1, "empty"),
    "unknown type": ("message.json", ("--type", "RequestForMoney"), 1, "infoexchange types"),
    "other type": ("message.json", ("--type", "MaritimeIncidentReport"), 1, "message.json"),
    "no type": ("message.json", (), 3, "--type"),
    "type and format": ("piracy.csv", (*JSON, *CSV, *MARKS), 3, "--format"),
    "unknown format": ("piracy.csv", ("--format", "pdf", *MARKS), 3, "stix"),
    "no op-status": ("piracy.csv", (*CSV, *MARKS[2:]), 3, "--op-status"),
    "no marks": ("piracy.csv", CSV, 3, "--op-status and --tlp and --purpose"),
    "marks beside JSON": ("message.json", (*JSON, "--op-status", "TEST"), 3, "--op-status"),
    "validity of no days": ("piracy.csv", (*CSV, *MARKS, "--valid-days", "0"), 3, "1 to 3650"),
    "validity beyond time": ("piracy.csv", (*CSV, *MARKS, "--valid-days", "9" * 30), 3, "1 to 3650"),
    "lifetime too long": ("message.json", (*JSON, "--lifetime", "91"), 3, "1 to 90"),
    "lifetime no number": ("message.json", (*JSON, "--lifetime", "²"), 3, "1 to 90"),
    "purpose no text": ("piracy.csv", (*CSV, *MARKS[:-1], "\udcff"), 3, "UTF-8"),
    "weaker marks": ("stix.json", ("--format", "stix", "--tlp", "CLEAR", *MARKS[:2], *MARKS[4:]), 1, "stix.json"),
    "as ACTUAL": ("stix.json", ("--format", "stix", "--op-status", "ACTUAL", *MARKS[2:]), 1, "EXERCISE"),
    "other format": ("piracy.csv", ("--format", "stix", *MARKS), 1, "piracy.csv"),
    "nothing in it": ("only-heading", (*CSV, *MARKS), 1, "no message"),
    "empty bundle": ("empty-bundle", ("--format", "stix", *MARKS), 1, "indicators"),
    "unknown recipient": ("message.json", (*JSON, "--to", "desk.nobody.xb.example"), 1, "desk.nobody.xb.example"),
    "unknown recipient of many": ("piracy.csv", (*CSV, *MARKS, "--to", "desk.nobody.xb.example"), 1, "8 messages not"),
    "unknown group": ("message.json", (*JSON, "--to", "nobody"), 1, "nobody"),
    "nobody": ("message.json", (*JSON, "--to", ""), 1, "directory"),
    "a relay": ("message.json", (*JSON, "--to", PEER), 1, PEER),
    "home that is not there": ("message.json", (*JSON, "--home", "nowhere"), 1, "keygen"),
    "home that is a file": ("message.json", (*JSON, "--home", "piracy.csv"), 1, "piracy.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_sends_nothing(failing, monkeypatch, tmp_path, case):
    file, options, code, words = BAD[case]
    if file in BROKEN:
        content = BROKEN[file]
        file = str(tmp_path / file)
        if content is not None:
            Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = outbox()
    line = failing(code, "send", file, "--home", SENDER, "--to", CERT, *options)
    assert words in line
    assert outbox() == before


MORE = {
    "short id": (1, "64 hexadecimal", ("receipts", "abc", "--home", SENDER)),
    "id of nothing": (1, "Check the ID", ("receipts", "00" * 32, "--home", SENDER)),
    "evidence of nothing": (1, "Check the ID", ("evidence", "make", "00" * 32, "--home", SENDER, "--out", "e")),
    "receive into nowhere": (1, "keygen", ("receive", "--home", "nowhere")),
    "receive without home": (3, "--home", ("receive",)),
    "receipts without id": (3, "ID", ("receipts", "--home", SENDER)),
}


@pytest.mark.parametrize("case", MORE)
def test_other_bad_input_gives_one_line_too(failing, case):
    code, word, words = MORE[case]
    assert word in failing(code, *words)
    assert not Path("e").exists()


def test_problems_can_be_read_by_programs(failing):
    line = failing(1, "send", "message.json", "--home", SENDER, "--to", "x.y", *JSON, "--json")
    assert list(json.loads(line)) == ["reason", "field", "detail", "next_step"]


def test_what_some_of_a_file_breaks_does_not_hold_up_the_rest(run, monkeypatch):
    from infoexchange.catalogue import rules

    check = rules.check

    def picky(message):
        if "Heron" in message.vessel.name:
            raise error(Reason.RULE_BROKEN, field="vessel.name", detail="spoilt")
        check(message)

    monkeypatch.setattr(rules, "check", picky)
    words = ("send", "four.csv", "--home", SENDER, "--to", SOUR, *CSV, *MARKS)
    code, out, err = run(*words, "--json")
    assert (code, err, json.loads(out)["sent"]) == (1, "", 3)
    assert [m["problem"] for m in json.loads(out)["messages"] if not m["id"]] == [
        "rule_broken in vessel.name: spoilt. Correct the field named and send again."
    ]
    code, out, _ = run(*words)
    assert (code, out.splitlines()[-1]) == (1, "3 of 4 messages are durable at the relay and logged.")


# Keys and directory

COMMANDS = {
    "send": ("send", "message.json", "--to", CERT, *JSON),
    "receive": ("receive",),
    "receipts": ("receipts", "00" * 32),
    "evidence make": ("evidence", "make", "00" * 32, "--out", "e"),
}


@pytest.mark.parametrize("key", ["identity.key", "tls.key"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_others_can_read_is_not_used(failing, tmp_path, command, key):
    home = a_copy(SENDER, tmp_path)
    (home / key).chmod(0o640)
    assert f"chmod 600 {home / key}" in failing(1, *COMMANDS[command], "--home", home)
    assert outbox(SENDER)[1] == 0


DAMAGE = {
    "another agency's identity": ("identity.key", CERT, ""),
    "another agency's TLS key": ("tls.key", CERT, ""),
    "another agency's certificates": ("certificates.pem", CERT, ""),
    "another agency's bundle": ("bundle-1.pb", CERT, ""),
    "junk as identity": ("identity.key", "", "identity.key"),
    "junk as TLS key": ("tls.key", "", ""),
    "junk as directory": ("directory.pb", "", "directory.pb"),
    "junk as roots": ("roots.pb", "", "roots.pb"),
    "junk as certificates": ("certificates.pem", "", "certificates.pem"),
    "junk as spool": ("spool.sqlite3", "", "spool.sqlite3"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_wrong_or_damaged_file_of_the_home_is_one_line(failing, tmp_path, case):
    file, source, word = DAMAGE[case]
    home = a_copy(SENDER, tmp_path)
    content = (Path(source) / file).read_bytes() if source else b"\x00junk" * 100
    (home / file).write_bytes(content)
    for command in ("send", "receive"):
        assert word in failing(1, *COMMANDS[command], "--home", home)


@pytest.mark.parametrize("file", ["identity.key", "tls.key", "directory.pb", "roots.pb", "bundle-1.pb"])
def test_a_missing_file_of_the_home_is_named_with_what_makes_it(failing, tmp_path, file):
    home = a_copy(SENDER, tmp_path)
    (home / file).unlink()
    line = failing(1, "receive", "--home", home)
    assert file in line
    assert "Run: infoexchange " in line


def test_an_expired_directory_stops_everything_before_anything_is_sealed(failing, sites, tmp_path):
    home, now = a_copy(SENDER, tmp_path), datetime.now(UTC)
    old = sites.community.directory
    listing = replace(
        old.listing,
        version=2,
        previous=old.digest,
        issued_at=now - timedelta(days=2),
        expires_at=now - timedelta(days=1),
    )
    signed = Directory.sign(listing.payload, sites.community.root_keys[:2])
    Home.open(home).save_directory(Directory.parse(signed, roots=sites.community.roots))
    before = outbox(home)
    for command in COMMANDS.values():
        line = failing(1, *command, "--home", home)
        assert "directory_expired" in line
        assert "newest directory" in line
    assert outbox(home) == before


# Relays that are down


def test_a_relay_that_is_down_costs_one_line(run, failing, sites):
    before = outbox()
    sites.kill(RELAY)
    try:
        for command in COMMANDS.values():
            line = failing(1, *command, "--home", SENDER)
            assert "nothing listens there" in line
            assert "nothing was lost" in line
        assert outbox() == before  # nothing was sealed: the same command can be given again
    finally:
        sites.start(RELAY)
    digest = send(run, LATE)
    assert digest in arrived(run, LATE, digest)


@pytest.fixture
def dying(sites, monkeypatch):
    """Kill a relay when a method of the connection to it is used next."""

    def arm(relay: str, method: str) -> None:
        original = getattr(RemoteRelay, method)

        def shot(self, *args):
            monkeypatch.setattr(RemoteRelay, method, original)
            sites.kill(relay)
            return original(self, *args)

        monkeypatch.setattr(RemoteRelay, method, shot)

    return arm


def test_what_was_sealed_when_the_relay_died_goes_out_once(run, failing, sites, dying, monkeypatch):
    before, _ = outbox()
    dying(RELAY, "submit")
    try:
        line = failing(1, "send", "message.json", "--home", SENDER, "--to", LATE, *JSON)
        assert "the message kept in the outbox" in line
        assert "do not send it again" in line
        assert outbox() == (before + 1, 1)
    finally:
        sites.start(RELAY)
    code, out, err = run("send", "message.json", "--home", SENDER, "--to", LATE, *JSON, "--json")
    sent = json.loads(out)
    assert (code, err, sent["sent"], sent["waiting"], len(sent["earlier"])) == (0, "", 1, 0, 1)
    ids = [message["id"] for message in (*sent["earlier"], *sent["messages"])]
    assert arrived(run, LATE, *ids) == ids  # in the order in which they were sealed
    assert outbox() == (before + 2, 0)


def test_receipts_are_shown_even_if_the_rest_fails(run, sites, dying, monkeypatch):
    """Of a file of several messages the first half is durable: its receipts must not be hidden by the error."""
    monkeypatch.setattr(cli.mail, "_BATCH", 2)
    batches, count = cli.mail._send_batch, []

    def second_fails(*args):
        count.append(1)
        if len(count) == 2:
            dying(RELAY, "submit")
        return batches(*args)

    monkeypatch.setattr(cli.mail, "_send_batch", second_fails)
    try:
        code, out, _ = run("send", "four.csv", "--home", SENDER, "--to", LATE, *CSV, *MARKS, "--json")
    finally:
        sites.start(RELAY)
    sent = json.loads(out)
    assert (code, sent["sent"], sent["waiting"]) == (1, 2, 2)
    assert [bool(m["id"]) for m in sent["messages"]] == [True] * 2 + [False] * 2
    assert all("kept in the outbox" in m["problem"] for m in sent["messages"][2:])
    receive(run, SENDER)  # any command that connects carries the rest
    assert outbox()[1] == 0
    came = 0
    for _ in range(50):
        came += len(receive(run, LATE)["messages"])
        if came == 4:
            break
    assert came == 4


def test_what_was_received_when_the_relay_died_is_kept_and_comes_no_second_time(run, sites, dying):
    ids = [send(run, CUT) for _ in range(3)]
    dying(PEER, "acknowledge")
    try:
        for _ in range(50):
            code, out, err = run("receive", "--home", CUT, "--json")
            if code:
                break
        assert (code, err.count("\n")) == (1, 1)
        assert json.loads(err)["reason"] == "unavailable"
        came = [message["id"] for message in json.loads(out)["messages"]]
        assert came
    finally:
        sites.start(PEER)
    rest = [digest for digest in ids if digest not in came]
    assert sorted(arrived(run, CUT, *rest) + came) == sorted(ids)
    assert receive(run, CUT)["messages"] == []


# Interruption, full disks, refusals

INTERRUPTED = """
from infoexchange.cli import mail
keep, kept = mail.keep, []
def interrupted(*args):
    kept.append(keep(*args))
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGINT)  # between keeping and acknowledging
    return kept[-1]
mail.keep = interrupted
"""


def test_an_interrupted_receive_loses_nothing(run):
    words = ("send", "four.csv", "--home", SENDER, "--to", CUT, *CSV, *MARKS, "--json")
    ids = [message["id"] for message in json.loads(run(*words)[1])["messages"]]
    came: list[dict[str, object]] = []
    for _ in range(20):
        done = start(INTERRUPTED, "receive", "--home", CUT, "--json")
        assert "Traceback" not in done.stderr
        came += json.loads(done.stdout)["messages"] if done.stdout else []
        if done.returncode:
            break
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert "kept" in done.stderr
    assert len(came) < len(ids)
    for _ in range(50):
        if len(came) == len(ids):
            break
        came += receive(run, CUT)["messages"]
    assert sorted(str(message["id"]) for message in came) == sorted(ids)
    assert [message["repeated"] for message in came].count(True) == 1  # the one that was not acknowledged


def test_an_interrupted_send_says_what_is_kept(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RemoteRelay, "submit", interrupted)
        code, out, err = run("send", "message.json", "--home", SENDER, "--to", CUT, *JSON)
    assert (code, err.count("\n")) == (130, 1)
    assert "In the outbox: 1." in out
    _, out, _ = run("send", "message.json", "--home", SENDER, "--to", CUT, *JSON, "--json")
    assert (json.loads(out)["sent"], len(json.loads(out)["earlier"])) == (1, 1)


def fails_then_comes(run, home: Path | str, digest: str, failed: tuple[int, str, str]) -> None:
    """The one line about the disk, and the message as soon as there is space."""
    code, out, err = failed
    assert (code, err.count("\n")) == (1, 1), err
    assert out == ""
    assert "nothing was lost" in err or "can be given again" in err or "ulimit" in err or "full" in err, err
    assert not (inbox_of(Path(home), bytes.fromhex(digest)) / "message.json").exists()
    assert digest in arrived(run, home, digest)
    kept = inbox_of(Path(home), bytes.fromhex(digest)) / "message.json"
    assert text.from_json("RequestForInformation", kept.read_text()) == request()


def waits(run, sites: Sites, digest: str) -> None:
    """Return when the message lies ready at the recipient's relay."""
    for _ in range(100):
        _, out, _ = run("receipts", digest, "--home", SENDER, "--json")
        if any("kept it ready" in event["what"] for event in json.loads(out)["events"]):
            return
    raise AssertionError("the message did not arrive")


@pytest.fixture
def mount(tmp_path: Path):
    """Mount a disk of some size at a folder, where this machine allows it."""
    mounted: list[Path] = []

    def disk(place: Path, size: str) -> Path:
        place.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.geteuid() or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
            pytest.skip("no disk can be mounted here; the limit on file sizes is tested instead")
        mounted.append(place)
        return place

    yield disk
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_inbox_leaves_the_message_at_the_relay(run, sites, mount):
    digest = send(run, FULL)
    waits(run, sites, digest)
    inbox = mount(Path(FULL, "inbox").absolute(), "64k")
    (inbox / "filler").write_bytes(bytes(15 * 4096))
    failed = run("receive", "--home", FULL)
    assert "the disk is full" in failed[2]
    (inbox / "filler").unlink()
    fails_then_comes(run, FULL, digest, failed)


@pytest.mark.parametrize("pages", [0, 1, 3, 12])
def test_a_home_on_a_full_disk_loses_nothing(run, sites, mount, tmp_path, pages):
    """Wherever in the work the disk is full: on opening the spool, on recording the message, or on keeping it."""
    digest = send(run, FULL)
    waits(run, sites, digest)
    home = mount(tmp_path / "disk", "1m") / "home"
    shutil.copytree(FULL, home, ignore=shutil.ignore_patterns("inbox"))
    filler = home.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(file.tell() // 4096 * 4096 - pages * 4096)
    code, out, err = run("receive", "--home", home)
    filler.unlink()
    if code == 0:
        assert pages == 12
        assert digest in out
    else:
        fails_then_comes(run, home, digest, (code, out, err))
    arrived(run, FULL)  # the copy has acknowledged it


@pytest.mark.parametrize("limit", [4096, 16_384])
def test_a_file_that_may_not_grow_leaves_the_message_at_the_relay(run, sites, tmp_path, limit):
    digest = send(run, FULL)
    waits(run, sites, digest)

    program = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    done = start(program, "receive", "--home", FULL)
    fails_then_comes(run, FULL, digest, (done.returncode, done.stdout, done.stderr))


def test_an_inbox_that_is_no_folder_is_named(failing, run, tmp_path):
    digest = send(run, LATE)
    inbox = Path(LATE, "inbox")
    moved = inbox.rename(tmp_path / "moved") if inbox.exists() else None
    inbox.write_text("")
    for _ in range(50):
        code, _, err = run("receive", "--home", LATE)
        if code:
            break
    assert (code, err.count("\n")) == (1, 1)
    assert "inbox" in err
    inbox.unlink()
    if moved:
        moved.rename(inbox)
    assert digest in arrived(run, LATE, digest)


def test_a_message_that_breaks_a_rule_here_is_refused_and_its_sender_told(run, monkeypatch):
    from infoexchange import delivery

    def newer_rule(message):
        raise error(Reason.RULE_BROKEN, field="background", detail="too vague")

    arrived(run, SOUR)
    digest = send(run, SOUR)
    with monkeypatch.context() as patch:
        patch.setattr(delivery.rules, "check_received", newer_rule)
        for _ in range(50):
            code, out, _ = run("receive", "--home", SOUR)
            if code:
                break
    assert code == 1
    assert f"refused: {SENDER}: rule_broken in background: too vague" in out
    assert "1 refused." in out
    assert not inbox_of(Path(SOUR), bytes.fromhex(digest)).exists()
    assert receive(run, SOUR)["messages"] == []
    _, out, _ = run("receipts", digest, "--home", SENDER)
    assert f"it was refused for {SOUR}, reason rule_broken" in out
