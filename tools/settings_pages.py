"""Settings pages: what a relay's operator reads about the settings, from the one place where they are declared.

Writes relay/relay.example.toml and the table in relay/README.md.
"""

from __future__ import annotations

from pathlib import Path

from infoexchange_relay.cli.folder import DEFAULT_LISTEN
from infoexchange_relay.config import settings_file, settings_table

FOLDER = Path(__file__).resolve().parent.parent / "relay"
_BEGINS, _ENDS = "| setting |", "\n\n"


def pages() -> dict[str, str]:
    """Return every page by its name, as it should be."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    before, begins, rest = page.partition(_BEGINS)
    if not begins:
        raise SystemExit("relay/README.md has no table of settings any more")
    after = rest.partition(_ENDS)[2]
    return {
        "relay.example.toml": settings_file(name="relay.th.example", listen=DEFAULT_LISTEN),
        "README.md": f"{before}{settings_table()}\n{after}",
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
