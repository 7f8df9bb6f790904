"""Pouches by command, beside relays that run and that no network joins; the lines of the manual are run as they are."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from infoexchange.states import Event
from infoexchange_relay.cli import main
from patience import until
from relays import AGENCIES, A, B, Relays, delivered, events, fetched

ROOT = Path(__file__).resolve().parent.parent
TH, VN = "relay.th.example", "relay.vn.example"
PATHS = (
    "data", "latch", "log_keys", "witness_keys", "tls_key", "tls_certificate", "directory", "roots",
)  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("relays")
    # The relays run in this process; their lines must not stand among those of the commands.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with contextlib.closing(Relays(folder, AGENCIES)) as relays:
        relays.files = {}
        for code, peer in (("th", VN), ("vn", TH)):
            relays.configs[code] = config = replace(relays.configs[code], courier=(peer,))
            lines = [f"{name} = {json.dumps(str(getattr(config, name)))}" for name in PATHS]
            lines += [f'name = "{config.name}"', f'listen = "{config.listen}"', f'courier = ["{peer}"]']
            relays.files[code] = folder / f"{code}.toml"
            relays.files[code].write_text("\n".join(lines))
        relays.nodes = {code: relays.start(code).node for code in ("th", "vn")}
        relays.publish()
        yield relays
    structlog.reset_defaults()


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main(["courier", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failing(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """The one line that a command leaves when it fails."""
    capsys.readouterr()
    assert main(["courier", *map(str, words)]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1), printed
    assert "Traceback" not in printed.err
    return printed.err


def test_the_lines_of_the_manual_carry_messages_both_ways(
    two: Relays, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    there, back = two.seal(A, [B]), two.seal(B, [A])
    # An agency's own relay cannot ask the other one for keys; the first round carries them.
    two.remote(A).submit([there.raw])
    two.remote(B).submit([back.raw])
    [block] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "courier.md").read_text("utf-8"), re.DOTALL)
    block = block.replace("relay.xa.example", TH).replace("relay.xb.example", VN)
    for name, value in (("A", two.files["th"]), ("B", two.files["vn"]), ("DISK", tmp_path)):
        block = re.sub(rf"\${name}\b", str(value), block)
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    assert len(lines) == 4
    for line in lines:
        program, *words = shlex.split(line)
        assert (program, main(words)) == ("infoexchange-relay", 0)
    said = capsys.readouterr().out
    assert "1 envelopes and 0 recalls taken" in said
    assert fetched(two.remote(B)) == [there.digest]
    assert fetched(two.remote(A)) == [back.digest]
    delivered(two.remote(B), [there.digest])
    delivered(two.remote(A), [back.digest])
    run(capsys, "export", "--config", two.files["vn"], "--to", TH, tmp_path / "5")
    run(capsys, "import", "--config", two.files["th"], tmp_path / "5")
    # What the other relay logged is answered to the sender as over a network.
    assert {(Event.FORWARDED, TH), (Event.ACCEPTED, VN), (Event.DELIVERED, VN)} <= set(
        events(two.remote(A), there.digest)
    )
    found = run(capsys, "import", "--config", two.files["th"], tmp_path / "5", "--answer", tmp_path / "6")
    assert (found["from"], found["answer"]["to"], found["left"]) == (VN, VN, {})


def test_relays_that_are_reached_by_courier_are_not_dialled(two: Relays) -> None:
    envelope = two.seal(A, [B])
    two.remote(A).submit([envelope.raw])
    assert [p.name for p in two.nodes["th"].directory.relays()] == [TH, VN]
    assert two.nodes["th"].store.waiting(VN, limit=9)
    assert fetched(two.remote(B)) == []


def test_bad_input_leaves_one_line(two: Relays, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    th, vn, pouch = two.files["th"], two.files["vn"], tmp_path / "pouch"
    made = run(capsys, "export", "--config", th, "--to", VN, pouch)
    assert made["bytes"] == pouch.stat().st_size
    assert "not_permitted" in failing(capsys, 1, "export", "--config", th, "--to", VN, pouch)
    assert "`courier`" in failing(capsys, 1, "export", "--config", th, "--to", "relay.xx.example", tmp_path / "new")
    assert "not_addressed" in failing(capsys, 1, "import", "--config", th, pouch)
    assert "no such file" in failing(capsys, 1, "import", "--config", vn, tmp_path / "none")
    assert "no such file" in failing(capsys, 1, "export", "--config", th, "--to", VN, tmp_path / "none" / "pouch")
    assert "folder" in failing(capsys, 1, "import", "--config", vn, tmp_path)
    assert "no such file" in failing(capsys, 3, "import", "--config", tmp_path / "none", pouch)
    for name, raw, word in (
        ("short", pouch.read_bytes()[:-1], "cut off"),
        ("text", b"hello\n", "no pouch"),
        ("changed", pouch.read_bytes().replace(b"\x08", b"\x09", 1), "not what was sealed"),
    ):
        (tmp_path / name).write_bytes(raw)
        assert word in failing(capsys, 1, "import", "--config", vn, tmp_path / name)
    assert not (tmp_path / "new").exists()
    for code in ("th", "vn"):
        until(lambda code=code: not list(two.configs[code].errands.iterdir()))
    newer = tmp_path / "newer"
    run(capsys, "export", "--config", th, "--to", VN, newer)
    run(capsys, "import", "--config", vn, newer)
    assert "replayed" in failing(capsys, 1, "import", "--config", vn, pouch)


def test_what_killed_commands_left_goes_after_an_hour(two: Relays) -> None:
    folder = two.configs["th"].errands
    until(folder.is_dir)
    left = [folder / f"{name * 32}{kind}" for name in "ab" for kind in (".pouch", ".answer")]
    for path in (*left, folder / "new.pouch"):
        path.touch()
    for path in left:
        os.utime(path, (time.time() - 3601,) * 2)
    until(lambda: list(folder.iterdir()) == [folder / "new.pouch"])
    (folder / "new.pouch").unlink()


def test_a_pouch_is_readable_by_nobody_else(two: Relays, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    usual = os.umask(0o022)
    try:
        run(capsys, "export", "--config", two.files["th"], "--to", VN, tmp_path / "pouch")
    finally:
        os.umask(usual)
    assert (tmp_path / "pouch").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "pouch"]


def test_words_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("export",), ("export", "--to", VN, "x"), ("import", "--config", "x"), ("send",)):
        assert "infoexchange-relay" in failing(capsys, 3, *words)


def test_without_a_running_relay_nothing_is_begun(
    two: Relays, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pouch = tmp_path / "pouch"
    run(capsys, "export", "--config", two.files["th"], "--to", VN, pouch)
    two.stop("vn")
    try:
        said = failing(capsys, 1, "import", "--config", two.files["vn"], pouch)
        assert "it does not run" in said
        assert "infoexchange-relay serve" in said
        assert "does not run" in failing(capsys, 1, "export", "--config", two.files["vn"], "--to", TH, tmp_path / "new")
    finally:
        two.nodes["vn"] = two.start("vn").node
    until(lambda: not main(["courier", "import", "--config", str(two.files["vn"]), str(pouch)]))  # it may be starting
    assert list(tmp_path.iterdir()) == [pouch]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("3", "no list of names"),
        ("[3]", "no list of names"),
        ('["relay"]', "not a name"),
        ('["relay.xx.example", "relay.xx.example"]', "stands twice"),
        ('["relay.th.example"]', "its own"),
    ],
)
def test_names_in_the_settings_are_checked(
    two: Relays, capsys: pytest.CaptureFixture[str], tmp_path: Path, value: str, word: str
) -> None:
    file = tmp_path / "relay.toml"
    text = two.files["th"].read_text().replace('["relay.vn.example"]', value)
    file.write_text(text)
    assert word in failing(capsys, 3, "export", "--config", file, "--to", VN, tmp_path / "new")
