"""Run the targets, led by coverage, each for as long as asked; findings and corpus are kept under build/fuzz.

Use: python -m fuzz [--seconds N] [--target NAME] [--processes N]
     python -m fuzz --target NAME --replay FILE      once more, by itself
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "fuzz"
# Instrumented code is slower: what takes long there is asked again without, and only then is a finding.
_INSTRUMENTED = ("infoexchange", "infoexchange_relay")
_GRACE_SECONDS = 600.0  # to start with every module instrumented, on a machine that is busy with others
_FUZZER = (
    "-print_final_stats=1",
    "-rss_limit_mb=2048",
    "-timeout=600",  # of the clock, beside other work; what takes too much of the processor is judged one by one
    "-len_control=0",
    "-report_slow_units=600",
    "-max_len=1048576",
)


def place_of(name: str) -> Path:
    """Return the folder of a target."""
    return BUILD / re.sub(r"\W+", "-", name).strip("-").lower()


@dataclass
class Run:
    """A target under way, or done."""

    name: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    begin: float

    def poll(self, seconds: int) -> bool:
        """Whether it has ended; a run that does not end is ended."""
        if time.monotonic() - self.begin > seconds + _GRACE_SECONDS:
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def row(self) -> tuple[str, str, str, str, str]:
        """What the table says of it."""
        self.log.close()
        text = (place_of(self.name) / "log").read_text("utf-8", "replace")
        runs = re.findall(r"stat::number_of_executed_units:\s+(\d+)", text) or re.findall(
            r"^#(\d+)", text, re.MULTILINE
        )
        covered, corpus = re.findall(r"cov: (\d+)", text), re.findall(r"corp: (\d+)", text)
        said = re.findall(r"FindingError: (.*)", text)
        found = sorted(path.name for path in place_of(self.name).glob("finding-*"))
        verdict = "" if not self.process.returncode else said[-1] if said else f"ended with {self.process.returncode}"
        last = [numbers[-1] if numbers else "0" for numbers in (runs, covered, corpus)]
        return self.name, *last, " ".join((verdict, *found)).strip()


def start(name: str, seconds: int) -> Run:
    """Start a target in a process of its own."""
    folder = place_of(name)
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "fuzz", "--child", name, "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)
    return Run(name, process, log, time.monotonic())


def run_all(names: Sequence[str], seconds: int, processes: int) -> int:
    """Run targets, some at a time, and print what became of them."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    console = Console()
    table = Table("target", "inputs", "edges", "kept", "finding", title=f"{seconds} s each")
    waiting, running, rows = list(names), list[Run](), list[tuple[str, str, str, str, str]]()
    try:
        with Progress(console=console) as progress:
            task = progress.add_task("", total=len(names))
            while waiting or running:
                while waiting and len(running) < processes:
                    running.append(start(waiting.pop(0), seconds))
                ended = [run for run in running if run.poll(seconds)]
                running = [run for run in running if run not in ended]
                rows += [run.row() for run in ended]
                found = sum(bool(row[-1]) for row in rows)
                words = f"{found} findings; {', '.join(run.name for run in running)}"
                progress.update(task, completed=len(rows), description=words)
                for row in rows[len(rows) - len(ended) :]:
                    if not console.is_terminal:
                        console.print(f"{len(rows)} of {len(names)}: {' | '.join(row)}", markup=False, soft_wrap=True)
                time.sleep(0.2)
    finally:
        for run in running:
            run.process.kill()
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return 1 if any(row[-1] for row in rows) else 0


def replay(name: str, file: Path) -> int:
    """Give one input to a target once, without instrumentation."""
    from fuzz.judge import judge
    from fuzz.targets import all_targets
    from fuzz.world import World

    cost = judge(all_targets(World.make(), place_of(name) / "files")[name], file.read_bytes())
    print(f"{'read' if cost.read else 'refused'} in {cost.seconds:.3f} s, {cost.memory >> 20} MiB more")
    return 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target until the time is over or there is a finding; does not return."""
    import atheris

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        from fuzz.judge import SECONDS_MAX, SlowError, judge
        from fuzz.target import SIZE_MAX
        from fuzz.targets import all_targets
        from fuzz.world import World
    target, folder = all_targets(World.make(), place_of(name) / "files")[name], place_of(name)
    shutil.rmtree(folder / "seeds", ignore_errors=True)
    (folder / "seeds").mkdir(parents=True)
    for seed in target.seeds:
        (folder / "seeds" / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)

    cleared = 0.0  # seconds, instrumented, that were found to be few enough without

    def one(raw: bytes) -> None:
        nonlocal cleared
        if len(raw) > SIZE_MAX:
            return
        try:
            judge(target, raw, seconds_max=max(SECONDS_MAX, 1.2 * cleared))
        except SlowError as slow:
            file = folder / f"slow-{hashlib.sha256(raw).hexdigest()[:16]}"
            file.write_bytes(raw)
            again = [sys.executable, "-m", "fuzz", "--target", name, "--replay", str(file)]
            if subprocess.run(again, stdin=subprocess.DEVNULL, cwd=ROOT, check=False).returncode:
                raise
            cleared = slow.seconds
            file.unlink()

    def change(data: bytes, size_max: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            made: bytes = atheris.Mutate(data, size_max)
            return made
        return target.changed(bytes(data), rng)[:size_max]

    words = [sys.argv[0], *_FUZZER, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/finding-"]
    atheris.Setup([*words, str(folder / "corpus"), str(folder / "seeds")], one, custom_mutator=change)
    atheris.Fuzz()


def names() -> list[str]:
    """Return the names of all targets."""
    from fuzz.targets import all_targets
    from fuzz.world import World

    return list(all_targets(World.make(), BUILD / "files"))


def main() -> int:
    """Do what the words say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", action="append", default=[], help="a target; all of them if none is named")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        fuzz(arguments.child, arguments.seconds)
    every = names()
    unknown = [name for name in arguments.target if name not in every]
    if arguments.list or unknown:
        print("\n".join([*(f"there is no target {name!r}; there are:" for name in unknown), *every]))
        return 1 if unknown else 0
    if arguments.replay:
        return replay(arguments.target[0], arguments.replay)
    os.nice(5)  # whoever works on the same machine goes first
    return run_all(arguments.target or every, arguments.seconds, arguments.processes)


if __name__ == "__main__":
    sys.exit(main())
