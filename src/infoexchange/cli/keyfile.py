"""Key file: change the passphrase of any secret file: of an agency, a CA, a relay or a root key."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output
from infoexchange.cli.parser import Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_passphrase, keychain_of, line_of, typed_twice

if TYPE_CHECKING:
    from infoexchange.home import Keychain

_SUFFIX = ".key"


def register(subparsers: Subparsers) -> None:
    """Add `key passwd`."""
    group = add_group(subparsers, "key", "look after secret files")
    passwd = add_command(group, "passwd", "seal secret files with a new passphrase", _passwd)
    passwd.add_argument(
        "path", metavar="PATH", type=Path, nargs="+", help="secret file, or a folder: all its *.key files"
    )
    way = passwd.add_mutually_exclusive_group()
    way.add_argument("--new-passphrase-file", metavar="FILE", type=Path, help="the new passphrase, as one line")
    way.add_argument("--remove", action="store_true", help="write them in the clear, readable by their owner alone")
    add_passphrase(passwd)


def _passwd(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.keys.sealed import Seal

    files = [file for path in args.path for file in _files(path)]
    keychain = keychain_of(args)
    with _locked(args.path, keychain):
        for file in files:  # every one is opened before the first is changed
            keychain.read(file, next_step="Check the path.")
        new = None
        if not args.remove:
            new = Seal.make(line_of(args.new_passphrase_file) if args.new_passphrase_file else typed_twice())
        for file in files:
            keychain.reseal(file, new)
    names = [str(file) for file in files]
    done = "In the clear, readable by their owner alone" if args.remove else "Sealed with the new passphrase"
    out.show({"files": names, "sealed": not args.remove}, f"{done}: {', '.join(names)}.")
    return PASSED


def _files(path: Path) -> list[Path]:
    from infoexchange.home.files import missing

    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix == _SUFFIX and not file.name.startswith("."))
    if not found:
        raise missing(path / f"*{_SUFFIX}", "Name the folder of an agency, a CA or a relay, or a secret file.")
    return found


@contextlib.contextmanager
def _locked(paths: Sequence[Path], keychain: Keychain) -> Iterator[None]:
    """Keep other programs from rewriting the keys of agencies meanwhile."""
    from infoexchange.home import Folder
    from infoexchange.home.folder import IDENTITY

    folders = {path if path.is_dir() else path.parent for path in paths}
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            if (folder / IDENTITY).exists():
                stack.enter_context(Folder(folder, keychain).locked())
        yield
