"""Output: what commands print: text for people, JSON for programs, and one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from rich.progress import TaskID

# Exit codes, explained in `parser.EXIT_CODES`.
PASSED, FAILED, INDETERMINATE, USAGE, INTERRUPTED = 0, 1, 2, 3, 130

# Implementation constants
_EVENT_SECONDS = 1.0  # between two lines on one transfer

# What the system says, in words of the person who has to act. Everything else keeps the system's own words.
_SYSTEM: dict[int, tuple[Reason, str, str]] = {
    errno.ENOENT: (Reason.UNAVAILABLE, "there is no such file or folder", "Check the path."),
    errno.ENOTDIR: (Reason.UNAVAILABLE, "a part of this path is not a folder", "Check the path."),
    errno.EISDIR: (Reason.UNAVAILABLE, "this is a folder", "Name a file."),
    errno.EACCES: (Reason.NOT_PERMITTED, "this user has no access", "Run as the owner, or correct the permissions."),
    errno.EPERM: (Reason.NOT_PERMITTED, "this user may not do that", "Run as the owner, or correct the permissions."),
    errno.EROFS: (Reason.NOT_PERMITTED, "the file system is read-only", "Name a place that can be written."),
    errno.ENOSPC: (Reason.OVERLOADED, "the disk is full", "Free some space and run it again; nothing was lost."),
    errno.EDQUOT: (
        Reason.OVERLOADED,
        "the disk quota is used up",
        "Free some space and run it again; nothing was lost.",
    ),
    errno.EFBIG: (
        Reason.OVERLOADED,
        "a file may not grow so large here",
        "Raise the limit (ulimit -f) and run it again.",
    ),
    errno.EADDRINUSE: (Reason.UNAVAILABLE, "the port is taken", "Choose another port, or stop what listens there."),
    errno.ECONNREFUSED: (Reason.UNAVAILABLE, "nobody listens there", "Check the address; try again later."),
}


class UsageError(Exception):
    """Arguments that each are right and do not go together; the message says what is missing."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class _Events:
    """Prints how far transfers are as JSON lines, not more often than anybody wants to read."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last.get(what, -_EVENT_SECONDS) < _EVENT_SECONDS:
            return
        self._last[what] = now
        event = {"event": "progress", "what": what, "done": done, "total": total}
        print(json.dumps(event, ensure_ascii=False), file=self._stream, flush=True)


class Output:
    """Where one command prints. Data goes to standard output; progress and problems go to standard error."""

    def __init__(self, program: str, *, as_json: bool = False) -> None:
        self._program = program
        self._as_json = as_json
        self._stdout: TextIO = sys.stdout
        self._stderr: TextIO = sys.stderr
        self._last: list[Callable[[], None]] = []
        for stream in (self._stdout, self._stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a name in Thai is no reason to fail on an old terminal

    def show(self, data: object, *parts: str | Table) -> None:
        """Print `data` where JSON is wanted, else the lines and tables that say the same to a person."""
        if self._as_json:
            print(json.dumps(data, ensure_ascii=False), file=self._stdout)
            return
        for part in parts:
            self.say(part)

    def say(self, part: str | Table) -> None:
        """Tell a person how far a long command is; nothing where JSON is wanted."""
        if self._as_json:
            return
        if isinstance(part, str):
            print(_printable(part, keep="\n"), file=self._stdout, flush=True)
        else:
            self._table(part)

    def _table(self, table: Table) -> None:
        rows = [[one_line(str(cell)) for cell in row] for row in (table.columns, *table.rows)]
        if self._stdout.isatty():
            # Slow to load, and of use to a person only.
            from rich.console import Console
            from rich.table import Table as Grid
            from rich.text import Text

            grid = Grid(box=None, header_style="bold", pad_edge=False)
            for heading in rows[0]:
                grid.add_column(Text(heading), overflow="fold")  # what is compared must not end in an ellipsis
            for row in rows[1:]:
                grid.add_row(*map(Text, row))  # as it is: a name must not be read as markup
            Console(file=self._stdout).print(grid)
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(),
                file=self._stdout,
            )

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Give a function to call with steps done and steps in all; a bar is drawn on terminals only."""
        if self._as_json or not self._stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=self._stderr), transient=True) as bar:
            task = bar.add_task(what)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextlib.contextmanager
    def transfers(self) -> Iterator[Callable[[str, int, int], None]]:
        """Give a function to call with what is under way, bytes done and bytes in all.

        On a terminal each has its bar. Where JSON is wanted, at most one line a second goes to standard error.
        """
        if self._as_json:
            yield _Events(self._stderr)
            return
        if not self._stderr.isatty():
            yield lambda what, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=self._stderr), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def tell(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(one_line(what).replace("[", "\\["))
                bars.update(tasks[what], completed=done, total=total)

            yield tell

    def check_person(self) -> None:
        """Raise `UsageError` unless there is somebody at the terminal who can be asked."""
        if self._as_json or not sys.stdin.isatty():
            raise UsageError("nobody can be asked here: run it at a terminal, or add --yes")

    def agreed(self, word: str, question: str) -> bool:
        """Ask whoever sits at the terminal, and return whether exactly `word` was the answer."""
        print(_printable(question), end=" ", file=self._stderr, flush=True)
        return sys.stdin.readline().strip() == word

    def ask(self, question: str) -> str:
        """Return what whoever sits at the terminal answers.

        Raises:
            EOFError: No more answers come.
        """
        from rich.console import Console
        from rich.prompt import Prompt
        from rich.text import Text

        return Prompt.ask(
            Text(_printable(question)), console=Console(file=self._stderr), default="", show_default=False
        )

    def at_end(self, remark: Callable[[], None]) -> None:
        """Have something said after everything else, whatever becomes of the command."""
        self._last.append(remark)

    def warn(self, text: str) -> None:
        """Print one line beside the data: nothing is wrong yet, but somebody has to act."""
        if self._as_json:
            print(json.dumps({"warning": text}, ensure_ascii=False), file=self._stderr)
        else:
            print(f"{self._program}: warning: {one_line(text)}", file=self._stderr)

    def problem(self, problem: ExchangeError) -> None:
        """Print what went wrong and what to do about it, in one line."""
        if self._as_json:
            parts = {name: getattr(problem, name) for name in ("field", "detail", "next_step")}
            print(json.dumps({"reason": problem.reason.word, **parts}, ensure_ascii=False), file=self._stderr)
        else:
            print(f"{self._program}: {one_line(str(problem))}", file=self._stderr)

    def run(self, command: Callable[[], int]) -> int:
        """Return the exit code of a command; whatever it may meet outside this program becomes one line and a code."""
        try:
            try:
                code = command()
            finally:
                for remark in self._last:
                    with contextlib.suppress(ExchangeError, OSError):  # what the command itself met is told already
                        remark()
            self._stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough. Python would complain once more when it closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())
            return FAILED
        except ExchangeError as problem:
            self.problem(problem)
            return FAILED
        except OSError as problem:
            self.problem(of_system(problem))
            return FAILED
        except UsageError as problem:
            print(f"{self._program}: {one_line(str(problem))}", file=self._stderr)
            return USAGE
        except KeyboardInterrupt:
            print(f"{self._program}: interrupted; what was finished before is kept", file=self._stderr)
            return INTERRUPTED
        return code


def of_system(problem: OSError) -> ExchangeError:
    """Return an error of the operating system in plain words, with a next step."""
    reason, detail, next_step = _SYSTEM.get(
        problem.errno or 0,
        (
            Reason.UNAVAILABLE,
            problem.strerror or str(problem) or type(problem).__name__,
            "Correct that, then run it again.",
        ),
    )
    return error(reason, field=str(problem.filename or ""), detail=detail, next_step=next_step)


def one_line(text: str) -> str:
    """Return text that fits one line and cannot steer a terminal, whoever wrote it."""
    return _printable(" ".join(text.split()))


def _printable(text: str, keep: str = "") -> str:
    return "".join(char if char.isprintable() or char in keep else "\N{REPLACEMENT CHARACTER}" for char in text)
