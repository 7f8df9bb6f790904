"""A small exchange made by commands alone: two nations with CA, relay and agency each, and three root keys."""

from __future__ import annotations

import json
from pathlib import Path

from infoexchange.cli import main as agency_main
from infoexchange_relay.cli import main as relay_main

AGENCIES = {"th": "desk.oncb.th.example", "sg": "desk.cnb.sg.example"}
HOLDERS = ("Thailand", "Singapore", "Secretariat")


def infoexchange(*words: object) -> int:
    return agency_main([str(word) for word in words])


def infoexchange_relay(*words: object) -> int:
    return relay_main([str(word) for word in words])


def draft(**changes: object) -> dict[str, object]:
    """The draft of the exchange's directory, with other values for some keys."""
    nations = [
        {"code": c, "suffix": f"{c}.example", "member_from": "2026-01-01"}
        | {"identity_cas": [f"ca-{c}/ca.pem"], "tls_cas": [f"ca-{c}/ca.pem"]}
        for c in AGENCIES
    ]
    agencies = [
        {"name": name, "nation": c, "relay": f"relay.{c}.example", "domains": ["drugs", "piracy"]}
        for c, name in AGENCIES.items()
    ]
    return {
        "community": "exchange.example",
        "valid_days": 90,
        "roots": "roots.pb",
        "nations": nations,
        "relays": [f"relay-{c}/registration.json" for c in AGENCIES],
        "agencies": agencies,
        "groups": [{"name": "drugs", "members": list(AGENCIES.values()), "valid_from": "2026-01-01"}],
    } | changes


def make_keys(folder: Path, listen: dict[str, str]) -> None:
    """CAs, relays, agencies with their certificates, root keys."""
    for c, name in AGENCIES.items():
        assert infoexchange("ca", "init", f"{c}.example", "--out", folder / f"ca-{c}") == 0
        relay, home, ca = folder / f"relay-{c}", folder / f"home-{c}", folder / f"ca-{c}"
        assert infoexchange_relay("init", f"relay.{c}.example", "--folder", relay, "--listen", listen[c]) == 0
        assert infoexchange("ca", "issue", "--ca", ca, relay / "request.pem", "--out", relay / "tls.pem") == 0
        assert infoexchange("keygen", name, "--home", home) == 0
        assert infoexchange("ca", "issue", "--ca", ca, home / "request.pem", "--out", folder / f"{c}.pem") == 0
    for holder in HOLDERS:
        assert infoexchange("keygen", "root", "--holder", holder, "--out", folder / f"{holder}.key") == 0
    publics = [folder / f"{holder}.key.pub" for holder in HOLDERS]
    assert infoexchange("directory", "roots", *publics, "--threshold", 2, "--out", folder / "roots.pb") == 0


def make_directory(folder: Path, out: str, *after: object, **changes: object) -> Path:
    """A directory version, signed by two holders on their own and joined; `--after CURRENT` unless it is the first."""
    (folder / "draft.json").write_text("// Draft\n" + json.dumps(draft(**changes)))
    payload, signed = folder / f"{out}.payload", folder / f"{out}.pb"
    assert infoexchange("directory", "propose", folder / "draft.json", "--out", payload, *after) == 0
    parts = [folder / f"{out}.{holder}" for holder in HOLDERS[:2]]
    for holder, part in zip(HOLDERS, parts, strict=False):
        key = folder / f"{holder}.key"
        assert infoexchange("directory", "sign", payload, "--key", key, "--yes", "--out", part, *after) == 0
    assert infoexchange("directory", "merge", *parts, "--out", signed, *after) == 0
    return signed


def make_exchange(folder: Path, listen: dict[str, str] | None = None) -> Path:
    """Everything, ready to run; returns the folder."""
    make_keys(folder, listen or dict.fromkeys(AGENCIES, "127.0.0.1:0"))
    directory = make_directory(folder, "directory")
    for c in AGENCIES:
        for name, source in (("directory.pb", directory), ("roots.pb", folder / "roots.pb")):
            (folder / f"relay-{c}" / name).write_bytes(source.read_bytes())
        assert enroll(folder, c) == 0
    return folder


def enroll(folder: Path, c: str, **files: object) -> int:
    """Put the agency of a nation into use, with other files for some options."""
    options = {"certificates": folder / f"{c}.pem", "directory": folder / "directory.pb", "roots": folder / "roots.pb"}
    words = [word for name, file in (options | files).items() for word in (f"--{name}", file)]
    return infoexchange("enroll", "--home", folder / f"home-{c}", *words)
