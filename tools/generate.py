"""Write the Python code of the `.proto` files, or check that the committed code is what they give now.

Everything is generated into a temporary folder first and then compared file by file, so a check does not care whether
the tree has other uncommitted changes, new and left-over files count as stale, and an unchanged file keeps its time.

Use: python tools/generate.py build/image.binpb src            write
     python tools/generate.py build/image.binpb src --check    compare; exit 1 and name the files when they differ
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import schema_words
import strip_options
from google.protobuf import descriptor_pb2

OURS = "infoexchange/"
# Code lists are part of the agreement, so they live in proto/codes and the package carries a copy.
CODES = (Path("proto/codes"), Path("infoexchange/catalogue/data"))

# Comments and rules of the catalogue, for forms, reference pages and tests.
WORDS = CODES[1] / "schema.json"


def protoc(image: Path, folder: Path, plugins: tuple[str, ...], files: list[str]) -> None:
    """Run the pinned protoc on an image; its plugins stand beside this interpreter."""
    if not files:
        return
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}"]
    command += [f"--{plugin}_out={folder}" for plugin in plugins]
    # mypy-protobuf names every file it writes on stderr; say it only when something went wrong.
    done = subprocess.run(
        [*command, *files], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)


def generate(image: Path, folder: Path) -> None:
    """Fill an empty folder with everything that is generated."""
    stripped = strip_options.strip(descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()))
    bare = folder.parent / "python.binpb"
    bare.write_bytes(stripped.SerializeToString())
    ours = [file for file in stripped.file if file.name.startswith(OURS)]
    protoc(bare, folder, ("python", "mypy"), [file.name for file in ours])
    # Only for files with services: the others would get empty modules that import grpc.
    protoc(bare, folder, ("grpc_python", "mypy_grpc"), [file.name for file in ours if file.service])
    for package in sorted({Path(file.name).parent for file in ours}):
        note = f'"""Generated from proto/{package.as_posix()} by `make generate`; never edited by hand."""\n'
        (folder / package / "__init__.py").write_text(note, encoding="utf-8")
    if CODES[0].is_dir():
        shutil.copytree(CODES[0], folder / CODES[1])
    (folder / WORDS).parent.mkdir(parents=True, exist_ok=True)
    (folder / WORDS).write_text(schema_words.describe(image.read_bytes()), encoding="utf-8")


def contents(root: Path, folders: set[Path]) -> dict[Path, bytes]:
    """Return every file of the folders, by its path below the root."""
    found = (path for folder in folders for path in sorted((root / folder).rglob("*")))
    return {
        path.relative_to(root): path.read_bytes()
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


def main(image: Path, target: Path, *, check: bool) -> int:
    """Bring the target up to date, or only say what is not."""
    with tempfile.TemporaryDirectory(dir=image.parent) as temporary:
        fresh_root = Path(temporary) / "fresh"
        fresh_root.mkdir()
        generate(image, fresh_root)
        # A generated folder is generated whole: whatever else lies in it is left over from a removed .proto file.
        folders = {path.relative_to(fresh_root).parent for path in fresh_root.rglob("*") if path.is_file()}
        fresh, present = contents(fresh_root, folders), contents(target, folders)
    stale = sorted(path for path in fresh.keys() | present.keys() if fresh.get(path) != present.get(path))
    if check:
        for path in stale:
            why = "missing" if path not in present else "left over" if path not in fresh else "differs"
            print(f"{target / path}: {why}")
        if stale:
            print("The generated code is stale: run `make generate` and commit what it writes.")
        return 1 if stale else 0
    for path in stale:
        if path not in fresh:
            (target / path).unlink()
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        # Replaced in one step, so that a program started meanwhile never reads half a file.
        partial = target / path.with_name(path.name + ".partial")
        partial.write_bytes(fresh[path])
        partial.replace(target / path)
    print(f"generated: {len(fresh)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4} or sys.argv[3:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} IMAGE TARGET [--check]")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), check=bool(sys.argv[3:])))
