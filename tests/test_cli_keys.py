"""The commands that set an exchange up: what they make, and one line and a code for whatever goes wrong."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_setup import AGENCIES, HOLDERS, draft, enroll, infoexchange, make_directory, make_exchange
from infoexchange.cli.directory import judging
from infoexchange.cli.output import Output, Table, of_system
from infoexchange.home import Home
from infoexchange.keys import Identity
from infoexchange.suites import HYBRID, NIST_HIGH

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def exchange(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exchange, as the working folder."""
    folder = Path(shutil.copytree(made, tmp_path / "exchange"))
    monkeypatch.chdir(folder)
    return folder


def start(*words: str, **settings) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'relay'}"} | settings.pop("env", {})
    command = [sys.executable, "-m", "infoexchange", *words]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.run(command, env=environment, text=True, check=False, **settings)


def failing(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """The one line that a command leaves when it fails."""
    capsys.readouterr()
    assert infoexchange(*words) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


# The whole set-up


def test_agencies_are_ready_after_the_commands(made):
    for c, name in AGENCIES.items():
        home = Home.open(made / f"home-{c}")
        assert (home.name, set(home.directory.signers)) == (name, set(HOLDERS[:2]))
        assert home.bundle.verify(home.directory, now=datetime.now(UTC)).domains == (1, 3)


def test_the_next_version_follows_the_one_before(exchange, capsys):
    make_directory(exchange, "second", "--after", "directory.pb", community="exchange.example")
    capsys.readouterr()
    words = ("directory", "verify", "second.pb", "--roots", "roots.pb", "--after", "directory.pb", "--json")
    assert infoexchange(*words) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert "rollback" in failing(capsys, 1, *words[:2], "directory.pb", *words[3:6], "second.pb")


def test_signatures_can_also_be_added_one_after_the_other(exchange, capsys):
    second = ("--key", f"{HOLDERS[2]}.key", "--yes", "--json")
    capsys.readouterr()
    assert infoexchange("directory", "sign", "directory.Thailand", *second) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["signatures"], done["needed"]) == (2, 2)
    assert infoexchange("directory", "verify", done["file"], "--roots", "roots.pb") == 0


def test_suites_are_chosen_by_agency_and_community(exchange, capsys):
    words = ("keygen", AGENCIES["th"], "--home", "wide", "--suite", "NIST-HIGH", "--suite", "HYBRID", "--json")
    capsys.readouterr()
    assert infoexchange(*words) == 0
    assert json.loads(capsys.readouterr().out)["suites"] == ["HYBRID", "NIST-HIGH"]
    keys = Identity.parse(Path("wide/identity.key").read_bytes())
    assert keys.epochs[0].offered == (HYBRID, NIST_HIGH)
    assert Home.open("home-th").bundle.accept_suites == (2, 3)
    for chosen, numbers, text in (
        ({}, [2, 3], "HYBRID, HYBRID-KEM."),
        (
            {"suites": ["NIST-HIGH", "CLASSICAL", "0x01ff", "HYBRID"]},
            [1, 2, 4, 511],
            "CLASSICAL, HYBRID, NIST-HIGH, 0x01ff",
        ),
    ):
        Path("draft.json").write_text(json.dumps(draft(**chosen)))
        assert infoexchange("directory", "propose", "draft.json", "--out", "chosen.payload") == 0
        capsys.readouterr()
        assert infoexchange("directory", "show", "chosen.payload", "--json") == 0
        assert json.loads(capsys.readouterr().out)["suites"] == numbers
        assert infoexchange("directory", "show", "chosen.payload") == 0
        assert f"Suites accepted: {text}" in " ".join(capsys.readouterr().out.split())
        Path("chosen.payload").unlink()


def test_the_template_is_a_draft(exchange, capsys):
    capsys.readouterr()
    assert infoexchange("directory", "template") == 0
    text = capsys.readouterr().out
    Path("template.json").write_text(text)
    for file, source in (("th/ca.pem", "ca-th/ca.pem"), ("th/registration.json", "relay-th/registration.json")):
        Path(file).parent.mkdir(exist_ok=True)
        shutil.copy(source, file)
    assert infoexchange("directory", "propose", "template.json", "--out", "made.payload") == 0


def test_show_tells_what_is_verified_from_what_is_not(exchange, capsys):
    capsys.readouterr()
    for words, verified in ((("directory.payload",), False), (("directory.pb", "--roots", "roots.pb"), True)):
        assert infoexchange("directory", "show", *words, "--json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["verified"], shown["agencies"][0]["domains"]) == (verified, ["drugs", "piracy"])
    assert infoexchange("directory", "show", "directory.pb") == 0
    text = capsys.readouterr().out
    assert "Not verified" in text
    assert AGENCIES["sg"] in text


def test_a_revoked_certificate_is_refused_for_ever(exchange, capsys):
    capsys.readouterr()
    issue = ("ca", "issue", "--ca", "ca-th", "home-th/request.pem", "--out", "again.pem", "--json")
    assert infoexchange(*issue) == 0
    serial = json.loads(capsys.readouterr().out)["certificates"][0]["serial"]
    assert infoexchange("ca", "revoke", "--ca", "ca-th", serial, "--reason", "keyCompromise") == 0
    assert infoexchange("ca", "crl", "--ca", "ca-th", "--out", "one.crl") == 0
    assert infoexchange("ca", "crl", "--ca", "ca-th", "--out", "two.crl") == 0
    for crl in ("one.crl", "two.crl"):
        capsys.readouterr()
        assert enroll(exchange, "th", certificates="again.pem", crl=crl) == 1
        assert "revoked" in capsys.readouterr().err
    assert enroll(exchange, "th", crl="two.crl") == 0


# Bad input of every kind

BAD = {
    "missing certificates": (1, "nothing.pem", ("enroll", "--certificates", "nothing.pem")),
    "folder as file": (1, "folder", ("enroll", "--certificates", "home-th")),
    "missing home": (1, "keygen", ("enroll", "--home", "nowhere")),
    "wrong roots": (1, "roots", ("enroll", "--roots", "th.pem")),
    "other agency's certificates": (1, "not for", ("enroll", "--certificates", "sg.pem")),
    "too few signatures": (1, "1 root signatures", ("enroll", "--directory", "directory.Thailand")),
    "existing home": (1, "never overwritten", ("keygen", AGENCIES["th"], "--home", "home-th")),
    "not a name": (1, "desk.agency.th.example", ("keygen", "Bangkok", "--home", "new")),
    "no home": (3, "--home", ("keygen", AGENCIES["th"])),
    "no such suite": (3, "invalid choice", ("keygen", AGENCIES["th"], "--home", "new", "--suite", "hybrid")),
    "suite of a root": (3, "--suite", ("keygen", "root", "--holder", "x", "--out", "x", "--suite", "HYBRID")),
    "no holder": (3, "--holder", ("keygen", "root", "--out", "x")),
    "existing root key": (1, "not overwritten", ("keygen", "root", "--holder", "x", "--out", "Thailand.key")),
    "existing CA": (1, "not overwritten", ("ca", "init", "th.example", "--out", "ca-th")),
    "no CA": (1, "ca init", ("ca", "issue", "--ca", "nowhere", "x", "--out", "y")),
    "not a request": (1, "request.pem", ("ca", "issue", "--ca", "ca-th", "th.pem", "--out", "y")),
    "foreign request": (1, "home-sg", ("ca", "issue", "--ca", "ca-th", "home-sg/request.pem", "--out", "y")),
    "not a serial": (1, "ca list", ("ca", "revoke", "--ca", "ca-th", "xyz", "--unregistered")),
    "a serial of nobody": (1, "--unregistered", ("ca", "revoke", "--ca", "ca-th", "beef")),
    "revoked in the future": (
        1,
        "in the future",
        ("ca", "revoke", "--ca", "ca-th", "1", "--since", "2999-01-01T00:00Z"),
    ),
    "no zone": (3, "zone", ("ca", "revoke", "--ca", "ca-th", "1", "--since", "2026-01-01")),
    "no register": (1, "ca init", ("ca", "list", "--ca", "home-th")),
    "not a draft": (1, "th.pem", ("directory", "propose", "th.pem", "--out", "y")),
    "out in no folder": (1, "no such file", ("directory", "propose", "draft.json", "--out", "no/where")),
    "out is a folder": (1, "Name a file", ("directory", "propose", "draft.json", "--out", "home-th")),
    "not a public part": (1, "FILE.pub", ("directory", "roots", "Thailand.key", "--threshold", "1", "--out", "y")),
    "threshold": (1, "2 of 1", ("directory", "roots", "Thailand.key.pub", "--threshold", "2", "--out", "y")),
    "key twice": (1, "repetition", ("directory", "roots", *["Thailand.key.pub"] * 2, "--threshold", "1", "--out", "y")),
    "not a root key": (1, "Thailand.key.pub", ("directory", "sign", "directory.pb", "--key", "Thailand.key.pub")),
    "nothing to sign": (1, "th.pem", ("directory", "sign", "th.pem", "--key", "Thailand.key")),
    "unlike contents": (1, "different", ("directory", "merge", "directory.pb", "second.Thailand", "--out", "y")),
    "content to merge": (1, "directory.payload", ("directory", "merge", "directory.payload", "--out", "y")),
    "unsigned": (1, "directory.payload", ("directory", "verify", "directory.payload", "--roots", "roots.pb")),
    "no command": (3, "--help", ()),
    "unknown command": (3, "--help", ("sent",)),
    "unknown option": (3, "--help", ("directory", "template", "--jsn")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_changes_nothing(exchange, capsys, case):
    code, word, words = BAD[case]
    if words[:1] == ("enroll",):
        usual = {"--home": "home-th", "--certificates": "th.pem", "--directory": "directory.pb", "--roots": "roots.pb"}
        words = ("enroll", *(part for pair in (usual | {words[1]: words[2]}).items() for part in pair))
    if "second.Thailand" in words:
        make_directory(exchange, "second", valid_days=9)
    before = {file: file.read_bytes() for file in exchange.rglob("*") if file.is_file()}
    assert word in failing(capsys, code, *words)
    assert {file: file.read_bytes() for file in exchange.rglob("*") if file.is_file()} == before


DRAFTS = {
    "community: is missing; 'comunity' stands": {"community": None, "comunity": "exchange.example"},
    "colour: no such key": {"colour": "red"},
    "valid_days: not a whole number": {"valid_days": True},
    "valid_days: 0": {"valid_days": 0},
    "roots: not a text": {"roots": 1},
    "Correct roots in": {"roots": "nowhere.pb"},
    "is not the name of a file": {"roots": "roots\x00.pb"},
    "nations[0].identity_cas[0]": {"nations": [{**draft()["nations"][0], "identity_cas": ["\ud800.pem"]}]},
    "th.pem: roots": {"roots": "th.pem"},
    "nations[0]: not an object": {"nations": ["th"]},
    "nations[0].suffix: is missing": {"nations": [{"code": "th"}]},
    "Correct nations[0].tls_cas[0]": {"nations": [{**draft()["nations"][0], "tls_cas": ["nowhere.pem"]}]},
    "home-th/request.pem": {"nations": [{**draft()["nations"][0], "tls_cas": ["home-th/request.pem"]}]},
    "'soon' is not a date": {"nations": [{**draft()["nations"][0], "member_from": "soon"}]},
    "relays[0]: th.pem is not a registration": {"relays": ["th.pem"]},
    "relays[0]: not a text": {"relays": [7]},
    "damaged.json: key": {"relays": ["damaged.json"]},
    "relays: not a list": {"relays": "relay-th/registration.json"},
    "no suite 'HYBIRD'; did you mean 'HYBRID'": {"suites": ["HYBRID-KEM", "HYBIRD"]},
    "suites[0]: no suite '0x0004'": {"suites": ["0x0004"]},
    "suites[1]: not a text": {"suites": ["HYBRID", 4]},
    "did you mean 'drugs'": {"agencies": [{**draft()["agencies"][0], "domains": ["drug"]}]},
    "relay 'relay.my.example' is not in": {"agencies": [{**draft()["agencies"][0], "relay": "relay.my.example"}]},
    "not below the suffix": {"agencies": [{**draft()["agencies"][0], "nation": "sg"}]},
    "'x.th.example' is not in": {"groups": [{"name": "g", "members": ["x.th.example"], "valid_from": "2026-01-01"}]},
}


@pytest.mark.parametrize("words", DRAFTS)
def test_a_mistake_in_a_draft_is_named_by_its_place(exchange, capsys, words):
    values = {key: value for key, value in draft(**DRAFTS[words]).items() if value is not None}
    Path("draft.json").write_text(json.dumps(values))
    registration = json.loads(Path("relay-th/registration.json").read_text())
    Path("damaged.json").write_text(json.dumps(registration | {"log_keys": ["relay.th.example+00+AA=="]}))
    line = failing(capsys, 1, "directory", "propose", "draft.json", "--out", "new")
    assert words.replace(": ", " ") in line.replace(": ", " ")


def test_a_key_that_others_can_read_is_refused(exchange, capsys):
    for key, words in (
        ("Thailand.key", ("directory", "sign", "directory.payload", "--key", "Thailand.key")),
        ("ca-th/ca.key", ("ca", "issue", "--ca", "ca-th", "home-th/request.pem", "--out", "y")),
    ):
        Path(key).chmod(0o640)
        assert f"chmod 600 {key}" in failing(capsys, 1, *words)


def test_secrets_are_written_for_their_owner_only(made):
    secret = [*(f"{holder}.key" for holder in HOLDERS), "ca-th/ca.key", "home-th/identity.key", "home-th/tls.key"]
    assert {(made / name).stat().st_mode & 0o777 for name in secret} == {0o600}


def test_an_expired_directory_is_named(exchange, capsys, monkeypatch):
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr(judging, "datetime", Later)
    assert "expired on" in failing(capsys, 1, "directory", "verify", "directory.pb", "--roots", "roots.pb")


def test_problems_can_be_read_by_programs(exchange, capsys):
    line = failing(capsys, 1, "directory", "show", "nothing.pb", "--json")
    assert json.loads(line) == {
        "reason": "unavailable",
        "field": "nothing.pb",
        "detail": "there is no such file",
        "next_step": "Check the path.",
    }


# Disks, pipes and terminals


def test_a_file_that_may_not_grow_leaves_nothing_and_can_be_repeated(tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    words = ("keygen", AGENCIES["th"], "--home", str(tmp_path / "home"))
    done = start(*words, preexec_fn=limit)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "ulimit" in done.stderr
    assert [file.name for file in (tmp_path / "home").iterdir()] == [".lock"]
    assert start(*words).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of four pages, where this machine allows one to be made."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if (
        not mounted
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("no disk can be mounted here; the limit on file sizes is tested instead")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_loses_nothing(small_disk):
    home = small_disk / "home"
    words = ("keygen", AGENCIES["th"], "--home", str(home))
    (small_disk / "filler").write_bytes(bytes(4096))
    done = start(*words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the disk is full" in done.stderr
    identity = (home / "identity.key").read_bytes()
    (small_disk / "filler").unlink()
    assert start(*words).returncode == 0
    assert (home / "identity.key").read_bytes() == identity


def test_a_full_disk_behind_standard_output():
    with Path("/dev/full").open("w") as full:
        done = start("directory", "template", stdout=full)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = start("directory", "template", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_names_the_exit_codes_and_loads_nothing_heavy():
    done = start("keygen", "--help")
    assert done.returncode == 0
    assert "exit codes:" in done.stdout
    heavy = {"grpc", "rich", "structlog", "protovalidate", "sqlite3"}
    program = f"import sys; from infoexchange import cli; cli.main(['--help']); print({heavy} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"


def test_interruption_has_a_code_of_its_own(capsys):
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert Output("infoexchange").run(interrupted) == 130
    assert "kept" in capsys.readouterr().err


def test_a_name_that_the_terminal_cannot_write_is_no_failure():
    done = start("keygen", "โต๊ะ.th.example", "--home", "new", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_errors_of_the_system_are_in_plain_words():
    assert "the port is taken" in str(of_system(OSError(98, "Address already in use")))
    assert "nobody listens" in str(of_system(ConnectionRefusedError(111, "refused")))
    assert "no access" in str(of_system(PermissionError(13, "denied", "/somewhere")))
    assert "odd" in str(of_system(OSError("odd")))


def test_foreign_text_cannot_steer_the_terminal(capsys, monkeypatch):
    table = Table(("name",), [("a\x1b[2Jb\nc",), ("[red]x[/red]",)])
    Output("infoexchange").show({}, "title\x1b[2J", table)
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Output("infoexchange").show({}, table)
    for printed in (plain, capsys.readouterr().out):
        assert "\x1b[2J" not in printed
        assert "[red]x[/red]" in printed
