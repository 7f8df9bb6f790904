"""Foreign witnesses beside a running relay: their lines, and everything that may be wrong with them."""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import structlog

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.quorum import policy_for
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint, Cosignature, Policy
from infoexchange.tlog.policy import Group, Witness
from infoexchange.transport.http_witness import HttpEndpoint
from infoexchange.witness import WitnessKeys
from infoexchange_relay import witnessing
from infoexchange_relay.config import ForeignWitness
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.witnessing import CosigningDesk
from messages import officer_acknowledgement
from patience import LIMIT, until
from relays import AGENCIES, Relays, free_ports

KEYS, OTHERS = WitnessKeys.make("witness.example.org"), WitnessKeys.make("liar.example.org")


@pytest.fixture
def relays(tmp_path, monkeypatch):
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(witnessing, "REFRESH_SECONDS", 0.1)
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def names(raw: bytes) -> set[str]:
    return {line.name for line in Checkpoint.parse(raw).note.signatures} if raw else set()


def test_its_line_stands_in_the_cosigned_checkpoint(relays: Relays, tmp_path: Path) -> None:
    vn = relays.start("vn")
    endpoints, ports = [], free_ports(2)
    for keys, port in zip((KEYS, OTHERS), ports, strict=True):
        desk = CosigningDesk(keys, vn.node, tmp_path / keys.relay)
        endpoints.append(HttpEndpoint(desk.add_submission, desk.shown, lambda bug: None))
        relays.do(endpoints[-1].start("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", 0)) as silent, structlog.testing.capture_logs() as lines:
        urls = [f"http://127.0.0.1:{port}" for port in (*ports, silent.getsockname()[1])]
        # The second one answers with other keys than it should, the third one never.
        foreign = tuple(ForeignWitness(url, keys.verifier_keys) for url, keys in zip(urls, [KEYS] * 3, strict=True))
        relays.configs["th"] = replace(relays.configs["th"], witness_foreign=foreign)
        th = relays.start("th")
        ledger, file = th.node.ledger, relays.configs["th"].cosigned
        own = {ledger.origin, "relay.vn.example/witness"}
        until(lambda: names(ledger.cosigned()) == own | {KEYS.name})
        until(lambda: file.exists() and names(file.read_bytes()) == own | {KEYS.name})
        kept = Checkpoint.parse(file.read_bytes())
        policy_for(relays.directory, "relay.th.example").verify(kept, now=th.node.clock())
        # An auditor who trusts it can say so, and receipts stay as they were.
        witnesses = [Witness(b"x", KEYS.verifier_keys[1])]
        Policy.make(ledger._keys.verifier_keys, witnesses, [], b"x").verify(kept, now=th.node.clock())
        assert names(ledger.receipts([0])[0].proof.checkpoint.raw) == own

        def said(event: str, url: str) -> list[dict]:
            return [line for line in lines if line["event"] == event and line.get("address") == url]

        until(lambda: said("foreign_witness_failed", urls[1]))
        assert said("foreign_witness_failed", urls[1])[0]["reason"] == "bad_signature"
        # It goes, and comes back: one line for each.
        relays.do(endpoints[0].stop())
        until(lambda: said("foreign_witness_failed", urls[0]))
        relays.do(endpoints[0].start("127.0.0.1", ports[0]))
        until(lambda: said("foreign_witness_back", urls[0]))
        for event, url in (("foreign_witness_failed", urls[0]), ("foreign_witness_back", urls[0])):
            assert len(said(event, url)) == 1
        assert len(said("foreign_witness_failed", urls[1])) == 1
        relays.stop("th")  # although one of them has not answered yet
    for endpoint in endpoints:
        relays.do(endpoint.stop())


def test_a_relay_opens_its_witness_where_it_is_told(relays: Relays) -> None:
    relays.configs["vn"] = replace(relays.configs["vn"], witness_listen="127.0.0.1:0")
    vn, th = relays.start("vn"), relays.start("th")
    assert th.witness_address == ""
    until(lambda: th.node.ledger.cosigned())  # over gRPC
    host, _, port = vn.witness_address.rpartition(":")
    name = sha256(th.node.ledger.origin.encode()).hexdigest()
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=LIMIT)) as connection:
        connection.request("GET", f"/{name}/checkpoint")
        shown = connection.getresponse().read()
    assert names(shown) == {th.node.ledger.origin, "relay.vn.example/witness"}
    relays.stop("th")
    relays.configs["th"] = replace(relays.configs["th"], witness_listen=vn.witness_address)
    with pytest.raises(ExchangeError, match="witness_listen"):
        relays.start("th")
    relays.stop("vn")


# What counts


def cosigning(exchange: Exchange, keys: WitnessKeys) -> tuple[Checkpoint, list]:
    checkpoint = Checkpoint.parse(exchange.nodes["relay.th.example"].ledger.checkpoint())
    return checkpoint, [Cosignature.sign(checkpoint, s, now=exchange.clock()).signature for s in keys.signers]


def test_it_counts_for_no_quorum_that_does_not_name_it(exchange: Exchange, tmp_path: Path) -> None:
    node = exchange.nodes["relay.th.example"]
    cosigned = Cosigned(node, tmp_path / "cosigned", Metrics())
    checkpoint, lines = cosigning(exchange, KEYS)
    cosigned.add("https://a", checkpoint, lines)
    assert not cosigned.take(checkpoint)
    assert (node.ledger.cosigned(), (tmp_path / "cosigned").exists()) == (b"", False)
    # The other nation's line makes it a quorum; then all lines are shown, whichever came first.
    _, counted = cosigning(exchange, exchange.community.witness_keys["relay.vn.example"])
    assert cosigned.take(checkpoint.with_signatures(counted))
    first = names(node.ledger.cosigned())
    cosigned.add("https://b", *cosigning(exchange, OTHERS))
    assert first == {checkpoint.origin, "relay.vn.example/witness", KEYS.name}
    assert names(node.ledger.published()) == names((tmp_path / "cosigned").read_bytes()) == first | {OTHERS.name}
    # Asked again, it has one line for each key and not two.
    count = len(Checkpoint.parse(node.ledger.cosigned()).note.signatures)
    cosigned.add("https://b", *cosigning(exchange, OTHERS))
    assert len(Checkpoint.parse(node.ledger.cosigned()).note.signatures) == count == 8
    assert names(node.ledger.receipts([0])[0].proof.checkpoint.raw) == {checkpoint.origin, "relay.vn.example/witness"}


def test_lines_about_an_older_checkpoint_are_not_shown(exchange: Exchange, tmp_path: Path) -> None:
    node = exchange.nodes["relay.th.example"]
    cosigned = Cosigned(node, tmp_path / "cosigned", Metrics())
    older = cosigning(exchange, KEYS)
    exchange.mailbox("desk.oncb.th.example").send(officer_acknowledgement(), to=["desk.navy.th.example"])
    checkpoint, counted = cosigning(exchange, exchange.community.witness_keys["relay.vn.example"])
    assert checkpoint.size > older[0].size
    cosigned.add("https://a", *older)
    assert cosigned.take(checkpoint.with_signatures(counted))
    cosigned.add("https://a", *older)
    assert names(node.ledger.cosigned()) == {checkpoint.origin, "relay.vn.example/witness"}
    # Nor does a round that comes late take the newer one away.
    stale, lines = older[0], cosigning(exchange, KEYS)[1]
    late = stale.with_signatures(
        Cosignature.sign(stale, s, now=exchange.clock()).signature
        for s in exchange.community.witness_keys["relay.vn.example"].signers
    )
    assert cosigned.take(late)
    assert Checkpoint.parse(node.ledger.cosigned()).size == checkpoint.size
    cosigned.add("https://a", checkpoint, lines)
    assert Checkpoint.parse((tmp_path / "cosigned").read_bytes()).size == checkpoint.size
    assert KEYS.name in names(node.ledger.cosigned())


def test_where_the_directory_names_it_it_counts(exchange: Exchange, tmp_path: Path) -> None:
    node = exchange.nodes["relay.th.example"]
    members = [Witness(b"foreign", KEYS.verifier_keys[0]), Witness(b"other", OTHERS.verifier_keys[0])]
    text = Policy.make([], members, [Group(b"both", 2, (b"foreign", b"other"))], b"both").raw.decode()
    listing = replace(exchange.directory.listing, witness_policy=text)
    node.directory = Directory(listing, exchange.directory._dsse, ())
    cosigned = Cosigned(node, tmp_path / "cosigned", Metrics())
    cosigned.add("https://a", *cosigning(exchange, KEYS))
    assert node.ledger.cosigned() == b""
    cosigned.add("https://b", *cosigning(exchange, OTHERS))
    assert names(node.ledger.cosigned()) == {node.ledger.origin, KEYS.name, OTHERS.name}
    assert names(node.ledger.receipts([0])[0].proof.checkpoint.raw) == {node.ledger.origin, KEYS.name, OTHERS.name}


def test_more_lines_than_a_note_holds_leave_the_others_alone(exchange: Exchange, tmp_path: Path) -> None:
    node = exchange.nodes["relay.th.example"]
    cosigned = Cosigned(node, tmp_path / "cosigned", Metrics())
    checkpoint, lines = cosigning(exchange, KEYS)
    cosigned.add("https://a", checkpoint, [replace(lines[0], name=f"n{n}") for n in range(64)])
    _, counted = cosigning(exchange, exchange.community.witness_keys["relay.vn.example"])
    assert cosigned.take(checkpoint.with_signatures(counted))
    assert names(node.ledger.cosigned()) == {checkpoint.origin, "relay.vn.example/witness"}
