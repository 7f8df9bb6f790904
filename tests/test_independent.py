"""Others read our logs: a program in Go that shares no code with us, and what the package index has for C2SP logs.

That they accept good logs shows that our files are what the C2SP specifications say; that they refuse what we refuse,
that we do not agree with ourselves alone.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import AGENCIES
from exported_logs import PlainLog, export, idle_bits, talk
from infoexchange.cli.audit.verifying import inspect_folder
from infoexchange.directory import Directory
from infoexchange.exported import LogFolder, export_log
from infoexchange.inspection import Inspection, Standard
from infoexchange.log import LogKeys
from infoexchange.testing import Community, Exchange
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint, merkle, tiles
from infoexchange.verdict import Verdict

HOME = "relay.th.example"
SIZES = (0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537)
SOURCE = Path(__file__).parent / "go" / "main.go"
GO_PACKAGES = Path("/usr/share/gocode")

Check = Callable[[Path, LogKeys], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def logcheck(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Our program in Go, compiled from its source without any network."""
    go = shutil.which("go")
    if go is None or not (GO_PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("needs Debian's golang-go and golang-golang-x-mod-dev; .ci/run installs them")
    folder = tmp_path_factory.mktemp("go")
    program = folder / "logcheck"
    settings = {"GOPATH": str(GO_PACKAGES), "GO111MODULE": "off", "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
    environment = {**os.environ, **settings}
    subprocess.run([go, "build", "-o", program, SOURCE], env=environment, check=True, capture_output=True)

    def check(log: Path, keys: LogKeys) -> subprocess.CompletedProcess[str]:
        command = [program, log, str(keys.verifier_keys[0])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return check


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make({"th": ["desk"], "vn": ["desk"]}, now=START)


@pytest.fixture(scope="module")
def logs(community: Community, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    """An exported log of each size; each goes on from a copy of the one before, as a relay's does."""
    log, made, before = PlainLog(), {}, None
    for size in SIZES:
        log.grow(size)
        folder = tmp_path_factory.mktemp("logs") / str(size)
        if before:
            shutil.copytree(before, folder, copy_function=os.link)
        export_log(log, folder, log.sign(community.log_keys[HOME]))
        made[size] = before = folder
    yield made
    for folder in made.values():
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exchange, Path]:
    """A log with records and directories, which witnesses have cosigned."""
    exchange = Exchange(AGENCIES)
    talk(exchange)
    exchange.witness()
    return exchange, export(exchange, tmp_path_factory.mktemp("real"), HOME)


def open_questions(folder: Path, directory: Directory) -> set[str]:
    """The checks that are not passed; a failed one is a failed test."""
    log = LogFolder(folder)
    report = Inspection(log, Standard(directories=[directory]), now=START, files=log).report()
    assert report.verdict is not Verdict.TOTAL_FAILED, report
    return {check.name for check in report.checks if check.verdict is not Verdict.TOTAL_PASSED}


# The program in Go


@pytest.mark.parametrize("size", SIZES)
def test_go_and_we_accept_logs_of_each_size(
    logcheck: Check, community: Community, logs: dict[int, Path], size: int
) -> None:
    done = logcheck(logs[size], community.log_keys[HOME])
    width = [size >> 8 * level for level in range(3)]
    assert done.stdout == f"ok: {size} entries, {sum(-(-w // 256) for w in width)} tiles, 0 records, 0 directories\n"
    assert done.returncode == 0
    assert open_questions(logs[size], community.directory) == {"witnesses"}


def test_go_checks_every_commitment(logcheck: Check, real: tuple[Exchange, Path]) -> None:
    exchange, folder = real
    size = LogFolder(folder).size
    done = logcheck(folder, exchange.community.log_keys[HOME])
    assert done.stdout == f"ok: {size} entries, 1 tiles, {size} records, 1 directories\n"


def flipped(folder: Path, path: Path, bit: int) -> None:
    """Change one bit; the file is made anew, as its bytes may stand in other folders too."""
    raw = bytearray((folder / path).read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    (folder / path).unlink()
    (folder / path).write_bytes(raw)


def test_each_changed_bit_is_refused_by_go_and_by_us(
    logcheck: Check, real: tuple[Exchange, Path], tmp_path: Path
) -> None:
    exchange, whole = real
    keys, roots = exchange.community.log_keys[HOME], exchange.community.roots
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    folder = Path(shutil.copytree(whole, tmp_path / "log"))
    assert inspect_folder(LogFolder(folder), roots).verdict is Verdict.TOTAL_PASSED
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        path, raw = file.relative_to(whole), file.read_bytes()
        # Go's library has no ML-DSA, and our program is given no witness's key: it reads their lines for form only.
        readable = len(b"".join(raw.splitlines(keepends=True)[:5])) if file.name == "checkpoint" else len(raw)
        idle = idle_bits(raw) if file.name == "checkpoint" else set()
        for bit in rng.sample([bit for bit in range(8 * len(raw)) if bit not in idle], 12):
            flipped(folder, path, bit)
            assert inspect_folder(LogFolder(folder), roots).verdict is not Verdict.TOTAL_PASSED, (path, bit)
            if bit < 8 * readable:
                done = logcheck(folder, keys)
                assert (done.returncode, done.stdout[:8]) == (1, "refused:"), (path, bit)
            (folder / path).write_bytes(raw)
    assert logcheck(folder, keys).returncode == 0


@pytest.mark.parametrize("size", [1, 257, 65_537])
def test_each_changed_bit_of_a_plain_log_is_refused(
    logcheck: Check, community: Community, logs: dict[int, Path], tmp_path: Path, size: int
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    folder = Path(shutil.copytree(logs[size], tmp_path / "log", copy_function=os.link))
    tiled = sorted(path.relative_to(folder) for path in (folder / "tile").rglob("*") if path.is_file())
    for path in rng.sample(tiled, min(2, len(tiled))):
        raw = (folder / path).read_bytes()
        flipped(folder, path, rng.randrange(8 * len(raw)))
        assert logcheck(folder, community.log_keys[HOME]).returncode == 1, path
        log = LogFolder(folder)
        report = Inspection(log, Standard(directories=[community.directory]), now=START, files=log).report()
        assert report.verdict is Verdict.TOTAL_FAILED, path
        (folder / path).write_bytes(raw)


def test_go_refuses_what_belongs_to_no_log(
    logcheck: Check, community: Community, logs: dict[int, Path], tmp_path: Path
) -> None:
    keys = community.log_keys[HOME]
    folder = Path(shutil.copytree(logs[257], tmp_path / "log"))
    assert logcheck(folder, community.log_keys["relay.vn.example"]).returncode == 1
    (folder / "tile/0/002.p").mkdir()
    (folder / "tile/0/002.p/1").write_bytes(bytes(32))
    assert "belongs to no log" in logcheck(folder, keys).stdout
    shutil.rmtree(folder / "tile/0/002.p")
    assert logcheck(folder, keys).returncode == 0
    (folder / "tile/entries/001.p/1").unlink()
    assert logcheck(folder, keys).returncode == 1


# Packages from the index, which only tests install


def proofs(folder: Path, rng: random.Random) -> Iterator[tuple[int, list[bytes], int, list[bytes], bytes]]:
    """Some places with their inclusion proofs, and some older sizes with their consistency proofs and roots."""
    log = LogFolder(folder)
    size = log.size

    def read(level: int, n: int) -> bytes:
        found = log.tile(level, n)
        assert found is not None
        return found

    places = {0, size - 1, size // 2, *(rng.randrange(size) for _ in range(6))} if size else set()
    for index in sorted(places):
        older = index + 1
        yield (
            index,
            tiles.inclusion_proof(index, size, read),
            older,
            tiles.consistency_proof(older, size, read),
            tiles.root(older, read) if older < size else Checkpoint.parse(log.checkpoint()).root,
        )


@pytest.mark.parametrize("size", SIZES)
def test_tlog_scales_agrees(community: Community, logs: dict[int, Path], size: int) -> None:
    reader_module = pytest.importorskip("tlog_scales.reader", reason="is in the group `tests`")
    from tlog_scales import backend, signing, tlog

    reader = reader_module.TilesReader(backend.LocalBackend(logs[size]))
    theirs = reader.get_checkpoint()
    ours = Checkpoint.parse(LogFolder(logs[size]).checkpoint())
    assert (theirs.origin, theirs.size, theirs.root_hash) == (ours.origin, ours.size, ours.root)
    for key in community.log_keys[HOME].verifier_keys:
        theirs.verify(signing.Vkey.from_string(str(key)))
    assert reader.calculate_root_hash() == ours.root
    for index, path, older, proof, root in proofs(logs[size], random.Random(size)):
        assert reader.get_inclusion_proof(index, size).node_hashes == path
        leaf = reader.get_entry(index)
        assert [leaf] == list(LogFolder(logs[size]).leaves(index, 1))
        tlog.InclusionProof(index, size, path).check(merkle.leaf_hash(leaf), ours.root)
        assert reader.get_consistency_proof(older, size).node_hashes == proof
        tlog.ConsistencyProof(older, size, proof).check(root, ours.root)
        theirs_back = reader.get_inclusion_proof(index, size).node_hashes
        merkle.verify_inclusion(merkle.leaf_hash(leaf), index, size, theirs_back, ours.root)


def test_tlog_scales_reads_cosignatures(real: tuple[Exchange, Path]) -> None:
    tlog = pytest.importorskip("tlog_scales.tlog", reason="is in the group `tests`")
    from tlog_scales import signing

    exchange, folder = real
    theirs = tlog.Checkpoint.from_text((folder / "checkpoint").read_text())
    witness = exchange.community.witness_keys["relay.vn.example"]
    for key in (*exchange.community.log_keys[HOME].verifier_keys, *witness.verifier_keys):
        theirs.verify(signing.Vkey.from_string(str(key)))


def aics() -> Any:
    if importlib.util.find_spec("aics_tlog") is None:
        pytest.skip("aics-tlog needs Python 3.12")
    import aics_tlog

    return aics_tlog


@pytest.mark.parametrize("size", SIZES)
def test_aics_tlog_agrees(community: Community, logs: dict[int, Path], size: int) -> None:
    other, folder = aics(), logs[size]
    text = (folder / "checkpoint").read_bytes()
    key = other.parse_vkey(str(community.log_keys[HOME].verifier_keys[0]))
    found = other.verify_checkpoint(other.parse_note(text), key)
    ours = Checkpoint.parse(text)
    assert found.log_ok
    assert (found.size, found.root) == (ours.size, ours.root)
    reader = other.FileSystemTileReader(folder)
    other.audit_tiles(reader, size, ours.root)
    for index, path, older, proof, root in proofs(folder, random.Random(size)):
        assert other.inclusion_proof_from_tiles(reader, index, size) == path
        assert other.verify_leaf_inclusion(other.read_entry(reader, index, size), index, size, path, ours.root)
        assert other.consistency_proof_from_tiles(reader, older, size) == proof
        assert other.verify_consistency(older, size, root, ours.root, proof)


def test_aics_tlog_refuses_changed_bits(community: Community, logs: dict[int, Path], tmp_path: Path) -> None:
    other, rng = aics(), random.Random(1)
    folder = Path(shutil.copytree(logs[257], tmp_path / "log"))
    root = Checkpoint.parse((folder / "checkpoint").read_bytes()).root
    tiled = [path.relative_to(folder) for path in (folder / "tile").rglob("*") if path.is_file()]
    for path, _ in itertools.product(tiled, range(8)):
        raw = (folder / path).read_bytes()
        flipped(folder, path, rng.randrange(8 * len(raw)))
        with pytest.raises((ValueError, FileNotFoundError)):
            other.audit_tiles(other.FileSystemTileReader(folder), 257, root)
        (folder / path).write_bytes(raw)
