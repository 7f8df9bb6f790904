"""What the relay writes for its operator: every key is on the list, and nothing of a message is in any line."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from infoexchange.content import Content
from infoexchange.errors import ExchangeError
from infoexchange.receipt import Receipt
from infoexchange_relay import logs
from patience import until
from relays import AGENCIES, A, B, Relays, delivered, fetched

RELAY = Path(__file__).resolve().parent.parent / "relay" / "infoexchange_relay"
BY_ITSELF = {"level", "timestamp", "event"}  # the logger writes these
METHODS = {"debug", "info", "warning", "error", "log"}
MARKER = b"MARKER-of-what-is-sealed-4711"


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a module's logger, and where it stands."""
    for path in sorted(RELAY.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and is_of_log(node.func)]
        # Under another name, or bound to keys, a logger would pass this test unseen.
        assert sum(map(is_of_log, ast.walk(tree))) == len(found), f"{path}: `_log` is used without being called"
        if path.stem != "otel":  # silences another's
            assert "getLogger(" not in path.read_text(encoding="utf-8"), path
        for node in found:
            yield f"{path.relative_to(RELAY)}:{node.lineno}", node


def is_of_log(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_log"


CALLS = list(calls())


def test_every_key_that_the_relay_writes_is_on_the_list_and_every_key_on_the_list_is_written():
    used = {(place, keyword.arg) for place, call in CALLS for keyword in call.keywords}
    assert not {(place, key) for place, key in used if key not in logs.ALLOWED}  # None stands for `**more`
    assert {key for _, key in used} == logs.ALLOWED - BY_ITSELF


def test_events_are_plain_words_and_nothing_else_is_passed_by_place():
    assert len(CALLS) > 40
    for place, call in CALLS:
        assert isinstance(call.func, ast.Attribute)
        assert call.func.attr in METHODS, place
        *_, event = call.args
        assert isinstance(event, ast.Constant), place
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(event.value)), place
        assert len(call.args) == (2 if call.func.attr == "log" else 1), place


def test_no_line_holds_the_text_of_an_exception():
    """It may hold bytes of a request; our own errors have a `detail` that never does."""
    caught = r"str\((bug|problem|found|caught|exc|error)\b|repr\(|traceback|exc_info"
    assert not [place for place, call in CALLS if re.search(caught, ast.unparse(call))]


def spellings(secret: bytes) -> list[str]:
    """How bytes could stand in a line of text."""
    return [secret.decode("latin-1"), secret.hex(), base64.b64encode(secret).decode()[:-4], repr(secret)[2:-1]]


def test_nothing_that_is_sealed_or_secret_gets_into_the_lines_of_a_whole_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two relays, messages that go, that are refused and that are broken, with every line written that there is."""
    written, make = io.StringIO(), Content.make
    marked = make("infoexchange.catalogue.v1.Note", b"\x0a" + bytes([len(MARKER)]) + MARKER)
    monkeypatch.setattr(Content, "make", lambda *_: marked)
    relays = Relays(tmp_path, AGENCIES)
    try:
        logs.configure("debug", written)
        for code in relays.configs:
            relays.start(code)
        relays.publish()
        sent = [relays.seal(A, [B]) for _ in range(3)]
        broken = bytearray(sent[2].raw)
        broken[-1] ^= 1
        results = relays.remote(A).submit([sent[0].raw, bytes(broken), MARKER, sent[1].raw])
        assert [type(result) is Receipt for result in results] == [True, False, False, True]
        with pytest.raises(ExchangeError):
            relays.remote(B).events(MARKER)
        until(lambda: len(fetched(relays.remote(B))) == 2)
        delivered(relays.remote(B), [envelope.digest for envelope in sent[:2]])
    finally:
        relays.close()
        structlog.reset_defaults()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {"forwarded", "witnessed"} <= {line["event"] for line in lines}
    assert not [line for line in lines if logs.DROPPED in line]
    keys = [config.tls_key.read_bytes() for config in relays.configs.values()]
    secrets = [MARKER, sent[0].raw[-48:], *(key[40:90] for key in keys)]
    secrets += [config.log_keys.read_bytes()[-40:] for config in relays.configs.values()]
    assert not [text for secret in secrets for text in spellings(secret) if text in written.getvalue()]
    assert all(A not in line for line in written.getvalue().splitlines())
