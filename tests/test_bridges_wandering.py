"""Random messages through every bridge that takes their type: marks stay, and what is lost is lost the first time.

A bridge may leave out what its `LOSSES` say; then the message that came back must pass whole, however often.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from infoexchange import bridges, catalogue
from infoexchange.catalogue import examples, labels
from infoexchange.errors import ExchangeError, Reason
from infoexchange.testing.clock import START
from test_cap import schema as cap_schema
from test_iso20022 import independent as read_camt
from test_misp import independent as misp_reader
from test_stix import independent as read_stix
from wandering import wandered

__all__ = ["cap_schema", "misp_reader"]

SEED, ROUNDS, STEPS = 20261122, 6, 6
# A report that asks nobody: what is read from it is the payments in it.
EXTRACTS = {("goaml", "FiuResponse")}


READ_ONLY = {"unlist"}


def begun(name: str, schema: str) -> Any:
    """The example of a type; where a format wants numbers of its own form, one that came from it."""
    message: Any = examples.message(schema)
    if name == "asam" and schema == "MaritimeIncidentReport":
        [message, *_] = bridges.find(name).read(examples.read("asam.json"), message.handling, now=START)
    return message


def tried(call: Callable[[], Any]) -> Any:
    """What a call returns, or the error it raises."""
    try:
        return call()
    except ExchangeError as refused:
        return refused


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    """Formats with the types that each writes."""
    found = []
    for name, bridge in bridges.FORMATS.items():
        for schema in (cls.DESCRIPTOR.name for cls in catalogue.schemas().values()):
            written = tried(partial(bridge.write, [begun(name, schema)], now=START, allow_red=True))
            if isinstance(written, ExchangeError):
                assert written.reason is Reason.RULE_BROKEN, (name, schema)
            else:
                found.append((name, schema))
    return found


def test_every_format_that_is_written_takes_a_type(pairs: list[tuple[str, str]]) -> None:
    assert {name for name, _ in pairs} == set(bridges.FORMATS) - READ_ONLY
    assert len(pairs) > 40


def test_what_is_written_as_an_exercise_is_never_read_as_real(pairs: list[tuple[str, str]]) -> None:
    for name, schema in pairs:
        message = begun(name, schema)
        raw, real = bridges.find(name).write([message], now=START, allow_red=True), catalogue.Handling()
        real.CopyFrom(message.handling)
        real.op_status = catalogue.OP_STATUS_ACTUAL
        with pytest.raises(ExchangeError) as caught:
            list(bridges.find(name).read(raw, real, now=START))
        assert caught.value.reason is Reason.MARK_LOST, (name, schema)


def test_no_file_is_read_with_weaker_marks(pairs: list[tuple[str, str]]) -> None:
    for name, schema in pairs:
        message = begun(name, schema)
        raw, weak = bridges.find(name).write([message], now=START, allow_red=True), catalogue.Handling()
        weak.CopyFrom(message.handling)
        weak.tlp = catalogue.TLP_CLEAR
        weak.ClearField("restrictions")
        found = tried(partial(read, name, raw, weak))
        if isinstance(found, ExchangeError):
            assert found.reason is Reason.MARK_LOST, (name, schema)
        else:
            wanted = labels.to_labels(message.handling, allow_red=True)
            assert all(labels.to_labels(one.handling, allow_red=True) == wanted for one in found), (name, schema)


def read(name: str, raw: bytes, handling: Any) -> list[Any]:
    return list(bridges.find(name).read(raw, handling, now=START))


def passed(bridge: bridges.Format, messages: list[Any], handling: Any) -> list[Any]:
    return read(bridge.name, bridge.write(messages, now=START, allow_red=True), handling)


def test_others_read_what_is_written_of_any_message(
    pairs: list[tuple[str, str]], misp_reader: Any, cap_schema: Any
) -> None:
    """Programs that are not ours accept every file; where a schema is public, that schema."""
    readers: dict[str, Callable[[bytes], Any]] = {
        "stix": read_stix,
        "misp": misp_reader,
        "iso20022": lambda raw: read_camt(raw, f"camt_{'029_001_09' if b'camt.029' in raw else '056_001_08'}"),
        "cap": lambda raw: cap_schema.validate(io.BytesIO(raw)),
    }
    for name, schema in pairs:
        if name in readers:
            rng, message = random.Random(f"{SEED} {name} {schema}"), begun(name, schema)
            for _ in range(ROUNDS):
                message: Any = wandered(message, rng, STEPS)
                raw = tried(partial(bridges.find(name).write, [message], now=START, allow_red=True))
                if isinstance(raw, bytes):
                    readers[name](raw)


def test_what_passed_once_passes_whole(pairs: list[tuple[str, str]]) -> None:
    whole = 0
    for name, schema in pairs:
        rng, message = random.Random(f"{SEED} {name} {schema}"), begun(name, schema)
        for _ in range(ROUNDS):
            message: Any = wandered(message, rng, STEPS)
            where = f"{name}, {schema}"
            once = tried(partial(passed, bridges.find(name), [message], message.handling))
            if isinstance(once, ExchangeError):  # what the format cannot say at all
                assert once.reason in (Reason.RULE_BROKEN, Reason.MARK_LOST), where
                message = begun(name, schema)
                continue
            assert once, where
            if (name, schema) not in EXTRACTS:
                assert {type(found) for found in once} >= {type(message)}, where
            assert passed(bridges.find(name), once, message.handling) == once, where
            whole += once == [message]
    assert whole > len(pairs)  # most of them lose nothing
