"""The commands around the end of a message's life: recall, receipts in words, archive and destruction."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from catalogue_messages import request
from command_setup import infoexchange
from infoexchange.catalogue import text
from infoexchange.cli.receive import inbox_of
from infoexchange.home import Home
from mailing import CERT, CUT, FULL, LATE, PEER, SENDER, SOUR, WATCH, arrived, here, receive, run, send, sites
from patience import attempts

__all__ = ["here", "run", "sites"]
ROOTS = ("--roots", "roots.pb")


def outcomes(run, command: str, digest: str, *words: object, code: int = 0) -> dict[str, str]:
    found, out, err = run(command, digest, "--home", SENDER, "--json", *words)
    assert (found, err) == (code, "")
    return {line["recipient"]: line["state"] for line in json.loads(out)["outcomes"]}


def test_recalled_before_its_delivery(run) -> None:
    digest = send(run, CERT, WATCH)
    assert outcomes(run, "recall", digest, "--to", CERT) == {CERT: "RECALLED"}
    arrived(run, WATCH, digest)
    assert receive(run, CERT)["messages"] == []
    assert outcomes(run, "receipts", digest) == {CERT: "RECALLED", WATCH: "OPENED"}
    code, out, _ = run("receipts", digest, "--home", SENDER)
    assert code == 0
    for words in (
        f"{PEER} took {SENDER}'s order to recall it for {CERT}",
        f"{PEER} stopped it for {CERT}, as its sender had ordered",
        f"recalled before its delivery: {PEER} stopped it",
        "opened, as the recipient has signed",
    ):
        assert words in " ".join(out.split()), words


def test_what_is_delivered_needs_a_message(run) -> None:
    digest = send(run, CUT)
    arrived(run, CUT, digest)
    code, out, _ = run("recall", digest, "--home", SENDER, "--draft", "recall.json")
    said = " ".join(out.split())
    assert code == 1
    assert f"infoexchange send recall.json --type Recall --home {SENDER} --to {CUT}" in said
    draft = json.loads(Path("recall.json").read_text())
    draft["handling"] |= {"domain": "DOMAIN_PIRACY", "tlp": "TLP_AMBER", "purpose": "joint exercise"}
    draft["reason"] = "RECALL_REASON_SENT_IN_ERROR"
    Path("recall.json").write_text(json.dumps(draft))
    code, out, _ = run("send", "recall.json", "--home", SENDER, "--to", CUT, "--type", "Recall", "--json")
    assert code == 0
    [sent] = json.loads(out)["messages"]
    for _ in attempts():
        code, out, _ = run("receive", "--home", CUT)
        if sent["id"][:16] in out:
            break
    assert f"recalls {digest}" in " ".join(out.split())


def test_who_may_not_recall_is_told_in_a_line(run) -> None:
    digest = send(run, FULL)
    for home, words, hint in (
        (FULL, (), "is not in the outbox"),
        (SENDER, ("--to", CERT), f"it was not sent to {CERT}"),
    ):
        code, out, err = run("recall", digest, "--home", home, *words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert hint in err


def with_retention(run, name: str, days: int) -> str:
    """Send a message that is to be destroyed so many days from now, and receive it."""
    message = request()
    message.handling.retention_until.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    Path("kept.json").write_text(text.to_json(message))
    digest = send(run, name, file="kept.json")
    arrived(run, name, digest)
    return digest


def test_the_archive_shows_again_and_destroys_when_due(run) -> None:
    due, later = with_retention(run, LATE, -1), with_retention(run, LATE, 30)
    code, out, _ = run("archive", "list", "--home", LATE, "--json")
    states = {m["id"]: (m["from"], m["state"]) for m in json.loads(out)["messages"]}
    assert (code, states) == (0, {due: (SENDER, "due"), later: (SENDER, "kept")})
    code, out, _ = run("archive", "open", due, "--home", LATE, "--out", "opened.json")
    assert code == 0
    assert "RequestForInformation from" in out
    made = text.from_json("RequestForInformation", Path("opened.json").read_text())
    assert made.background == request().background  # type: ignore[attr-defined]
    assert Path("opened.json").stat().st_mode & 0o777 == 0o600

    code, out, _ = run("archive", "destroy", "--due", "--home", LATE, "--json")
    assert (code, json.loads(out)) == (0, {"destroyed": [due], "stated": True})
    assert not inbox_of(Path(LATE), bytes.fromhex(due)).exists()
    assert inbox_of(Path(LATE), bytes.fromhex(later)).exists()
    code, _, err = run("archive", "open", due, "--home", LATE)
    assert (code, "its key was destroyed" in err) == (1, True)
    assert run("archive", "open", later, "--home", LATE)[0] == 0
    _, out, _ = run("receipts", due, "--home", SENDER)
    assert "its key was destroyed by" in " ".join(out.split())
    _, out, _ = run("archive", "destroy", "--due", "--home", LATE)
    assert "Nothing is due." in out

    # The original signature and everything logged still verify, at the sender's and at the recipient's.
    for home in (SENDER, LATE):
        file = f"{home}.ixev"
        assert run("evidence", "make", due, "--home", home, "--out", file)[0] == 0
        code, out, _ = run("evidence", "verify", file, *ROOTS, "--json")
        checks = {check["name"]: check for check in json.loads(out)["checks"]}
        assert "DESTROYED" in checks[f"outcome for {LATE}"]["detail"]
        assert {c["name"] for c in checks.values() if c["verdict"] != "TOTAL-PASSED"} <= {"checkpoints witnessed"}
    _, out, _ = run("evidence", "show", f"{LATE}.ixev")
    assert "its content key is destroyed" in " ".join(out.split())


def test_destroying_needs_a_name_or_due(run) -> None:
    digest = send(run, SOUR)
    arrived(run, SOUR, digest)
    assert run("archive", "destroy", "--home", SOUR)[0] == 3
    assert run("archive", "destroy", digest, "--due", "--home", SOUR)[0] == 3
    for words in (("open", "00" * 32), ("destroy", "00" * 32)):
        code, out, err = run("archive", *words, "--home", SOUR)
        assert (code, out, "not in the archive" in err) == (1, "", True)
    assert inbox_of(Path(SOUR), bytes.fromhex(digest)).exists()
    code, out, _ = run("archive", "destroy", digest, "--home", SOUR, "--json")
    assert (code, json.loads(out)["destroyed"]) == (0, [digest])


def test_secrets_are_not_in_the_clear_on_the_disk(run) -> None:
    """The archive's file holds sealed keys only, and its key stands in the key file."""
    digest = send(run, WATCH)
    arrived(run, WATCH, digest)
    home = Home.open(WATCH)
    with home.archive() as archive:
        sealed = archive.sealed_key(bytes.fromhex(digest))
        found = archive.find(bytes.fromhex(digest))
    assert found is not None
    key = found.unseal(sealed, home.identity.archive)
    files = b"".join(path.read_bytes() for path in Path(WATCH).rglob("*") if path.is_file())
    assert sealed in files
    assert key not in files
    assert infoexchange("archive", "list", "--home", WATCH) == 0
