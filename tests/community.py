"""A small community with real keys: two nations, a relay and two agencies each, and a short way to seal."""

import secrets

from infoexchange.content import Content
from infoexchange.envelope import Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import DEFAULT_SUITE
from infoexchange.testing import Community as Made
from infoexchange.testing.clock import START

NOW = START


class Community:
    """Nations `aa` and `bb`, each with a CA, `relay.<nation>.example` and the agencies `coast` and `police`."""

    def __init__(self, now=NOW):
        self.now = now
        self.made = Made.make({"aa": ["coast", "police"], "bb": ["coast", "police"]}, now=now)
        self.directory = self.made.directory
        self.logs = self.made.log_keys
        self.bundles = {name: member.bundle for name, member in self.made.members.items()}
        self._newest = {}

    def seal(self, sender, recipients, payload=b"\x0a\x05hello", *, precedence=Precedence.ROUTINE, lifetime=None):
        """Return the sender's next envelope to the recipients."""
        sequence, previous = self._newest.get(sender, (0, b""))
        header = Header(
            suite=DEFAULT_SUITE.number,
            message_id=secrets.token_bytes(16),
            sender=sender,
            sender_bundle=self.bundles[sender].digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=precedence,
            created_at=self.now,
            expires_at=self.now + (lifetime or LIFETIME_DEFAULT),
            sequence=sequence + 1,
            previous=previous,
            content_commitment=b"",
        )
        content = Content.make("infoexchange.catalogue.v1.Note", payload)
        bundles = [self.bundles[name] for name in recipients]
        envelope = Envelope.seal(content, header, bundles, self.made.members[sender].identity.epochs[0])
        self._newest[sender] = (sequence + 1, envelope.digest)
        return envelope
