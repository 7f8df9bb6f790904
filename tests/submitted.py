"""What logs post to witnesses over HTTP and what they get back, as bytes, for tests of readers."""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.submission import Submission

HEADS = (
    b"POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    b"GET /%s/checkpoint HTTP/1.0\r\n\r\n" % (b"0a" * 32),
)


def submissions(notes: Sequence[bytes]) -> tuple[bytes, ...]:
    """One for each checkpoint, with proofs of different length."""
    return tuple(Submission.make(n, [bytes([n]) * 32] * n, raw).raw for n, raw in enumerate(notes))


def replies(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """Cosignatures in chunks, the same until the end, and a size."""
    ok, conflict = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(lines[0]), lines[0])
    return ok + chunked, ok + b"\r\n" + b"".join(lines[:2]), conflict + b"Content-Length: 3\r\n\r\n42\n"
