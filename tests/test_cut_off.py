"""Scripts of the manual that are cut off between two files: the ones of before are never lost, nor mixed with new ones.

The relay's answers stand still here, and no relay runs; `make manual` has the same scripts work on relays.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from operated import SCRIPTS
from patience import LIMIT

TAKERS = [("recover.sh", "finish"), ("next-half-year.sh", "turn")]  # of a directory
# What `doctor` and `status` say: all is well but a file that is called wrong.
_RELAY = """\
#!/bin/sh
case "$1" in
status) echo '{"runs": false}' ;;
doctor)
    for thing in "TLS certificate" service directory "log keys in the directory" "newer directory"; do
        case $thing in TLS*) file=tls.pem ;; *directory*) file=directory.pb ;; *) file=tls.key ;; esac
        state=ok
        grep -q wrong "$RELAY_FOLDER/$file" && state=failed
        echo "{\\"check\\": \\"$thing\\", \\"state\\": \\"$state\\", \\"detail\\": \\"it is $state\\"}"
    done ;;
esac
"""
# Stands before what writes a file; the first time, it breaks the script off there.
_AS = """\
#!/bin/sh
for last; do :; done
[ "$last" = "$BREAKS_AT" ] && mkdir "$RELAY_FOLDER/broken" 2>/dev/null || exec "$@"
[ "$BREAKS_BY" = error ] && exit 1
"$@"
kill -s "$BREAKS_BY" "$PPID"
"""


class Folder:
    """The folder of a relay with old files, and new ones beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        named = {"tls_key": "tls.key", "tls_certificate": "tls.pem", "directory": "directory.pb", "log_keys": "log.key"}
        self._write("relay.toml", "".join(f'{name} = "{file}"\n' for name, file in named.items()))
        self._write("programs/bin/infoexchange-relay", _RELAY)
        self._write("as", _AS)
        for name in ("tls.key", "tls.pem", "directory.pb"):
            self._write(name, "old")
        self.right, self.wrong = self._write("right", "right"), self._write("wrong", "wrong")
        self._write("next-tls/tls.key", "right")
        self._write("log.key.next", "keys")

    def _write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o700)
        return file

    def run(self, script: str, *words: object, at: str = "", by: str = "") -> tuple[int, str]:
        """Run a script that breaks off where it writes a file; return its exit code and its last line."""
        given = {"RELAY_FOLDER": str(self.path), "RELAY_PROGRAMS": str(self.path / "programs"), "RELAY_SECONDS": "1"}
        given |= {"RELAY_AS": str(self.path / "as"), "RELAY_START": "true", "RELAY_STOP": "true"}
        given |= {"BREAKS_AT": str(self.path / at), "BREAKS_BY": by}
        command = [SCRIPTS / script, *map(str, words)]
        done = subprocess.run(
            command, env=os.environ | given, capture_output=True, text=True, check=False, timeout=LIMIT
        )
        return done.returncode, (done.stderr.splitlines() or [""])[-1]

    def held(self, *names: str) -> list[str]:
        return [(self.path / name).read_text() for name in names]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("at", ["tls.key", "tls.pem"])
@pytest.mark.parametrize("by", ["error", "TERM"])
def test_a_key_is_put_back_with_its_certificate(folder: Folder, at: str, by: str) -> None:
    code, said = folder.run("rotate-tls.sh", "install", folder.right, at=at, by=by)
    assert (code, "are those of before" in said) == (1, True)
    assert folder.held("tls.key", "tls.pem") == ["old", "old"]
    assert folder.run("rotate-tls.sh", "install", folder.right)[0] == 0
    assert folder.held("tls.key", "tls.pem") == ["right", "right"]
    assert folder.held("tls.key.before", "tls.pem.before") == ["old", "old"]


@pytest.mark.parametrize("at", ["tls.key", "tls.pem"])
def test_the_old_key_outlives_a_power_failure_and_a_wrong_certificate(folder: Folder, at: str) -> None:
    assert folder.run("rotate-tls.sh", "install", folder.wrong, at=at, by="KILL")[0] < 0
    assert folder.held("tls.key") == ["right"]
    code, said = folder.run("rotate-tls.sh", "install", folder.wrong)
    assert (code, "are those of before" in said) == (1, True)
    assert folder.held("tls.key", "tls.pem") == ["old", "old"]


def test_it_says_so_where_not_even_the_old_key_can_be_put_back(folder: Folder) -> None:
    (folder.path / "tls.pem.put").mkdir()
    for _ in range(2):
        code, said = folder.run("rotate-tls.sh", "install", folder.right)
        assert (code, "tls.pem.before" in said) == (1, True)
        assert folder.held("tls.pem", "tls.key.before", "tls.pem.before") == ["old"] * 3


@pytest.mark.parametrize("script", [("rotate-tls.sh", "install"), *TAKERS])
def test_a_folder_is_no_file(folder: Folder, script: tuple[str, str]) -> None:
    code, said = folder.run(*script, folder.path)
    assert (code, "cannot be read" in said) == (1, True)
    assert not list(folder.path.glob("*.before"))


@pytest.mark.parametrize("script", TAKERS)
def test_an_unchecked_directory_never_counts_as_the_one_of_before(folder: Folder, script: tuple[str, str]) -> None:
    code, said = folder.run(*script, folder.wrong, at="directory.pb", by="TERM")
    assert (code, "is the version of before" in said) == (1, True)
    assert folder.held("directory.pb") == ["old"]
    (folder.path / "broken").rmdir()
    assert folder.run(*script, folder.wrong, at="directory.pb", by="KILL")[0] < 0
    assert folder.held("directory.pb") == ["wrong"]
    code, said = folder.run(*script, folder.wrong)
    assert (code, "is the version of before" in said) == (1, True)
    assert folder.held("directory.pb") == ["old"]
    folder.run(*script, folder.right)
    assert folder.held("directory.pb") == ["right"]
    assert not (folder.path / "directory.pb.before").exists()
