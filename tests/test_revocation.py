"""Whoever is revoked is out at once: new calls and open streams alike, by directory and by revocation list."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import replace

import pytest

from infoexchange import certificates
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import RevocationReason, Revoked
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.receipt import Receipt
from infoexchange.testing.community import enrol
from infoexchange.transport import RemoteRelay, utc_now
from infoexchange_relay import fetching
from patience import LIMIT, PATIENT, until
from relays import A2, A, Relays, fetched, raised


@pytest.fixture
def th(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_LOOK", 0.1)
    with contextlib.closing(Relays(tmp_path, {"th": ["desk.oncb", "desk.navy"]})) as relays:
        relays.start("th")
        relays.publish()
        yield relays


class Stream:
    """A stream that an agency follows: what came, and how it ended."""

    def __init__(self, remote: RemoteRelay) -> None:
        self.came: queue.Queue[bytes] = queue.Queue()
        self.ended: queue.Queue[ExchangeError | None] = queue.Queue()
        self._frames = remote.follow()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for frame in self._frames:
                for raw in frame:
                    self.came.put(Envelope.parse(raw).digest)
        except ExchangeError as problem:
            self.ended.put(problem)
        else:
            self.ended.put(None)


def with_key(relays, name):
    """An agency's relay, and the certificate of that connection."""
    key, certificate = relays.tls(name)
    (leaf,) = certificates.from_pem(certificate)
    return RemoteRelay(relays.channel("th", key=key, certificate=certificate), timeout=PATIENT), leaf


def revoking(relays, *ders):
    """The nation's next revocation list."""
    now = utc_now()
    serials = [certificates.load(der).serial_number for der in ders]
    revoked = [Revoked(serial, now, RevocationReason.KEY_COMPROMISE) for serial in serials]
    return relays.community.cas["th"].crl(now=now, number=2, revoked=revoked)


def publish_with(relays, remote, name, crl):
    """Publish a party's bundle with another revocation list."""
    bundle = relays.community.members[name].bundle
    return remote.publish([KeyBundle.parse(bundle.raw, bundle.certificates, (crl,))])[0]


def carries(relays, stream, sender=A, recipient=A2):
    """Whether a stream still gets what arrives."""
    envelope = relays.seal(sender, [recipient])
    assert isinstance(relays.remote(sender).submit([envelope.raw])[0], Receipt)
    return stream.came.get(timeout=LIMIT) == envelope.digest


def test_a_party_that_the_next_directory_does_not_list_is_out(th):
    navy, own = th.remote(A2), Stream(th.remote(A2))
    assert carries(th, own)
    other = Stream(th.remote(A))
    listing = th.directory.listing
    parties = tuple(party for party in listing.parties if party.name != A2)
    fields = {"version": 2, "previous": th.directory.digest, "parties": parties, "groups": ()}
    raw = Directory.sign(replace(listing, **fields).payload, th.community.root_keys[:2])
    assert isinstance(th.remote(A).publish_directory(raw), Receipt)
    assert own.ended.get(timeout=LIMIT).reason is Reason.UNKNOWN_PARTY
    assert raised(navy.checkpoint).reason is Reason.UNKNOWN_PARTY
    assert carries(th, other, A, A)  # nobody else is concerned


def test_a_certificate_on_a_list_is_out_whoever_brought_the_list(th):
    navy, leaf = with_key(th, A2)
    own, renewed = Stream(navy), Stream(th.remote(A2))
    assert carries(th, renewed)
    assert isinstance(publish_with(th, th.remote(A), A, revoking(th, leaf)), Receipt)
    assert own.ended.get(timeout=LIMIT).reason is Reason.REVOKED
    assert raised(navy.checkpoint).reason is Reason.REVOKED
    assert carries(th, renewed)  # the party has another certificate, which goes on
    # It is known after a start as well.
    th.stop("th")
    th.start("th")
    assert until(lambda: reason_of(navy.checkpoint)) is Reason.REVOKED
    assert th.remote(A2).checkpoint()


def reason_of(call):
    """Why a call is refused; nothing while the relay cannot be reached yet."""
    problem = raised(call)
    return None if problem.reason is Reason.UNAVAILABLE else problem.reason


def test_a_revoked_identity_gets_no_envelopes_until_it_has_another(th):
    navy, member = th.remote(A2), th.community.members[A2]
    own = Stream(navy)
    assert carries(th, own)
    revoked = revoking(th, *member.certificates)
    assert isinstance(publish_with(th, navy, A2, revoked), Receipt)
    assert own.ended.get(timeout=LIMIT).reason is Reason.REVOKED
    assert raised(lambda: fetched(navy)).reason is Reason.REVOKED
    # Its connection is another key's: with it the party publishes what it has got in the place of the stolen keys.
    ca, now = th.community.cas["th"], utc_now()
    again = enrol(A2, ca, now)
    bundle = KeyBundle.parse(again.bundle.raw, again.bundle.certificates, (revoked,))  # what the CA has said last
    assert navy.checkpoint()
    result = navy.publish([bundle])[0]
    assert isinstance(result, Receipt), result
    assert len(fetched(navy)) == 1
