"""Files of a directory version on its way: drafts become contents, contents gather signatures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import UsageError

if TYPE_CHECKING:
    from infoexchange.directory import Directory
    from infoexchange.dsse import Dsse
    from infoexchange.listing import Listing, Roots

CHECK = "Check the path."


@dataclass(frozen=True)
class Version:
    """A version as it lies in a file, signed or not; nothing is verified.

    Attributes:
        file: Where it lies.
        listing: What stands in it.
        dsse: Its container; without signatures where the file is a content only.
        signed: Whether the file is a signed one.
    """

    file: Path
    listing: Listing = field(repr=False)
    dsse: Dsse = field(repr=False)
    signed: bool

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"version {self.listing.version} of {self.listing.community}"


def read_version(file: Path) -> Version:
    """Return what lies in a file, a content or a signed directory."""
    from infoexchange.home.files import read_file

    return version_of(file, read_file(file, next_step=CHECK))


def version_of(file: Path, raw: bytes) -> Version:
    """Return what stands in bytes that lie, or are to lie, in a file."""
    from infoexchange.dsse import TYPE_DIRECTORY, Dsse
    from infoexchange.errors import MalformedError
    from infoexchange.home.files import in_file
    from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing

    with in_file(file):
        try:
            dsse = Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
        except MalformedError:
            return Version(file, Listing.parse(raw), Dsse.make(TYPE_DIRECTORY, raw, []), signed=False)
        return Version(file, Listing.parse(dsse.payload), dsse, signed=True)


def read_current(file: Path) -> Directory:
    """Return a whole version from a file that its owner trusts: enough of its own root keys signed it."""
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file

    raw = read_file(file, next_step=CHECK)
    with in_file(file):
        return Directory.held(raw)


def current_for(version: Version, file: Path | None) -> Directory | None:
    """Return the version that another one follows, once it is known to follow it; nothing for a first version.

    Raises:
        UsageError: No file is named, and it is no first version: nobody must sign what was compared with nothing.
        UntrustedError: `DIRECTORY_ROLLBACK` or `LOG_FORK`.
    """
    from infoexchange.home.files import in_file

    number = version.listing.version
    if file is None:
        if number > 1:
            raise UsageError(f"{version.file} is version {number}: name the version in force with --after CURRENT")
        return None
    current = read_current(file)
    if current.digest == version.dsse.digest:
        raise UsageError(f"{version.file} and {file} are the same version; --after names the one before")
    with in_file(version.file):
        current.check_next(version.listing)
    return current


def read_roots(file: Path) -> Roots:
    """Return the trust anchor in a file."""
    from infoexchange.home.files import in_file, read_file
    from infoexchange.listing import Roots

    with in_file(file):
        return Roots.parse(read_file(file, next_step=CHECK))
