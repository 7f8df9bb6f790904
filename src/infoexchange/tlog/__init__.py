"""Transparency log: the C2SP formats of the audit log, as pure functions of bytes and values.

From the bottom up: `merkle` (the tree and its proofs), `text` (strict numbers and base64), `tiles` (the tree as files)
and `note` (signed text), `checkpoint` (what a log says), `cosignature` (what a witness says), `proof` and `policy`
(what a reader keeps and what it demands). Every parser accepts exactly one form of everything it reads.
"""

from infoexchange.tlog.checkpoint import Checkpoint
from infoexchange.tlog.cosignature import Cosignature
from infoexchange.tlog.note import Note, NoteSigner, VerifierKey
from infoexchange.tlog.policy import Policy
from infoexchange.tlog.proof import Proof

__all__ = ["Checkpoint", "Cosignature", "Note", "NoteSigner", "Policy", "Proof", "VerifierKey"]
