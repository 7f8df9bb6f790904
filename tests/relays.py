"""Relays on loopback: the real program in this process, with real certificates, each on a free port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import postgres
from infoexchange import certificates, suites
from infoexchange.certificates import NationalCa
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.ports import Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.testing import Community
from infoexchange.testing.sites import free_ports
from infoexchange.transport import RemoteRelay, open_channel, utc_now
from infoexchange_relay.config import Config
from infoexchange_relay.serve import running
from patience import LIMIT, PATIENT

A, A2, B = "desk.oncb.th.example", "desk.navy.th.example", "intel.c04.vn.example"
AGENCIES = {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04"]}


class Relays:
    """Nations with a relay each, on disk and on the network; `start` and `stop` them by nation code."""

    def __init__(self, folder: Path, agencies: Mapping[str, Sequence[str]]) -> None:
        self.now = utc_now()
        self.addresses = {
            code: f"127.0.0.1:{port}" for code, port in zip(agencies, free_ports(len(agencies)), strict=True)
        }
        self.community = Community.make(agencies, now=self.now, addresses=self.addresses)
        # A second TLS CA of the last nation, which certifies names of the first.
        codes = list(agencies)
        self.meddler = NationalCa.make(f"{codes[0]}.example", now=self.now)
        self.directory = self._with_meddler(codes[-1])
        self.running = {}
        self.nodes = {}
        self._channels = []
        self._newest = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays")
        self._thread.start()
        self.configs = {code: self._config(folder / code, code) for code in agencies}

    def _with_meddler(self, code: str) -> Directory:
        listing = self.community.directory.listing
        nations = tuple(
            replace(n, tls_cas=(*n.tls_cas, self.meddler.certificate)) if n.code == code else n for n in listing.nations
        )
        signed = Directory.sign(replace(listing, nations=nations).payload, self.community.root_keys[:2])
        return Directory.parse(signed, roots=self.community.roots)

    def _config(self, folder: Path, code: str) -> Config:
        data = folder / "data"
        data.mkdir(parents=True)
        os.chmod(data, 0o700)
        name = f"relay.{code}.example"
        key, certificate = self.tls(name)
        contents = {
            "log.key": self.community.log_keys[name].raw,
            "witness.key": self.community.witness_keys[name].raw,
            "tls.key": key,
            "tls.pem": certificate,
            "directory.pb": self.directory.raw,
            "roots.pb": self.community.roots.raw,
        }
        for file, content in contents.items():
            (folder / file).write_bytes(content)
            os.chmod(folder / file, 0o600)
        return Config(
            name=name,
            listen=self.addresses[code],
            data=data,
            latch=folder / "latch",
            log_keys=folder / "log.key",
            witness_keys=folder / "witness.key",
            tls_key=folder / "tls.key",
            tls_certificate=folder / "tls.pem",
            directory=folder / "directory.pb",
            roots=folder / "roots.pb",
            witness_seconds=1,
            reflection=True,
            log_level="error",
            store=postgres.store(),
        )

    def tls(self, name, *, ca=None):
        """Return a key and a certificate of the name's nation, or of another CA."""
        key = certificates.tls_key()
        authority = ca or self.community.cas[name.split(".")[-2]]
        return key, certificates.to_pem(authority.issue(certificates.tls_request(name, key), now=self.now))

    def do(self, coroutine, seconds=LIMIT):
        """Run a coroutine in the relays' loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def call(self, function):
        """Have a function called in the relays' loop."""
        self._loop.call_soon_threadsafe(function)

    def start(self, code):
        """Start a relay and return it."""
        stack = contextlib.AsyncExitStack()
        relay = self.do(stack.enter_async_context(running(self.configs[code])))
        self.running[code] = stack
        self.nodes[code] = relay.node
        return relay

    def publish(self):
        """Publish every agency's bundle at its own relay."""
        self.publish_of(*self.configs)

    def publish_of(self, *codes):
        """Publish the bundles of some nations' agencies at their own relays."""
        for name, member in self.community.members.items():
            if name.split(".")[-2] not in codes:
                continue
            assert isinstance(self.remote(name).publish([member.bundle])[0], Receipt)

    def stop(self, code):
        """Stop a relay, in order."""
        self.do(self.running.pop(code).aclose())

    def stop_soon(self, code):
        """Begin to stop a relay; `stopped` waits for the end."""
        self._stopping = asyncio.run_coroutine_threadsafe(self.running.pop(code).aclose(), self._loop)

    def stopped(self):
        """Wait until the relay has stopped."""
        self._stopping.result(30)

    def channel(self, code, name="", *, key=b"", certificate=b"", address=""):
        """Open a channel to a nation's relay, with the certificate of `name` unless another is given."""
        if name and not key:
            key, certificate = self.tls(name)
        channel = open_channel(
            address or self.addresses[code],
            name=f"relay.{code}.example",
            roots=certificates.to_pem(self.community.cas[code].certificate),
            certificate=certificate,
            key=key,
        )
        self._channels.append(channel)
        return channel

    def remote(self, name, *, timeout=PATIENT):
        """Return an agency's own relay."""
        code = name.split(".")[-2]
        return RemoteRelay(self.channel(code, name), timeout=timeout, address=self.addresses[code])

    def seal(self, sender, recipients, *, precedence=Precedence.ROUTINE, lifetime=LIFETIME_DEFAULT, suite=None):
        """Return the sender's next envelope."""
        member = self.community.members[sender]
        sequence, previous = self._newest.get(sender, (0, b""))
        now = utc_now()
        header = Header(
            suite=(suite or suites.DEFAULT_SUITE).number,
            message_id=secrets.token_bytes(16),
            sender=sender,
            sender_bundle=member.bundle.digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=precedence,
            created_at=now,
            expires_at=now + lifetime,
            sequence=sequence + 1,
            previous=previous,
            content_commitment=b"",
        )
        content = Content.make("infoexchange.catalogue.v1.Note", b"\x0a\x05hello")
        bundles = [self.community.members[name].bundle for name in recipients]
        envelope = Envelope.seal(content, header, bundles, member.identity.epochs[0])
        self._newest[sender] = (sequence + 1, envelope.digest)
        return envelope

    def close(self):
        """Stop everything."""
        for channel in self._channels:
            channel.close()
        for code in list(self.running):
            self.stop(code)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def raised(call):
    """Return the error that a call raises."""
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value


def fetched(remote):
    """Return the digests of all that waits."""
    return [Envelope.parse(raw).digest for frame in remote.fetch() for raw in frame]


def delivered(remote, digests):
    """Acknowledge envelopes."""
    results = remote.acknowledge([Notice(digest, Event.DELIVERED) for digest in digests])
    assert all(isinstance(result, Receipt) for result in results)


def events(remote, digest):
    """Return what was logged of an envelope, and where."""
    return [(receipt.routing.event, receipt.routing.this_relay) for receipt in remote.events(digest).events]
