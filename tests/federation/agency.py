"""Agencies of a federation: a process in which some of them send, receive, refuse and recall until it is ended.

Each keeps everything in its own folder, and a journal of what it meant to send and what its application was handed. The
application acts once on each message: what comes again after a crash it knows by its journal, as a careful one does.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from federation.journal import ACKNOWLEDGED, CALM, FAILED, HANDED, MEANT, REFUSED, Journal, lines
from infoexchange import Draft, catalogue
from infoexchange.delivery import Delivery
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.home import Home
from infoexchange.mailbox import Mailbox
from infoexchange.mailbox.tracing import addressees
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.suites import DEFAULT_SUITE, HYBRID_KEM
from infoexchange.transport import connect
from messages import officer_acknowledgement

QUIET = "quiet"  # while this file is there nothing new is sent
_BATCH = 8
_TIMEOUT = timedelta(seconds=60)
# Of a hundred messages: of each precedence, and what may happen to them.
_PRECEDENCES = (1,) * 70 + (2,) * 15 + (3,) * 10 + (4,) * 5
_BLIND, _REFUSE, _RECALL, _HYBRID = 0.2, 0.02, 0.01, 0.25


class Agency:
    """One agency with its application."""

    def __init__(self, args: argparse.Namespace, name: str, stop: threading.Event) -> None:
        self._args, self._name, self._stop = args, name, stop
        self._random = random.Random(f"{args.seed} {name} {time.time_ns()}")
        path = args.folder / "journals" / f"{name}.jsonl"
        before = list(lines(path))
        self._acknowledged = {line["digest"] for line in before if line["kind"] == ACKNOWLEDGED}
        self._handed = {line["digest"] for line in before if line["kind"] in (HANDED, REFUSED)}
        self._journal = Journal(path)

    def run(self) -> None:
        """Work until told to stop; whatever fails is tried again."""
        while not self._stop.is_set():
            try:
                with connect(Home.open(self._args.folder / self._name), timeout=_TIMEOUT) as mailbox:
                    while not self._stop.is_set():
                        self._turn(mailbox)
            except ExchangeError as problem:
                self._journal.write(FAILED, reason=problem.reason.word, field=problem.field)
                self._stop.wait(self._random.uniform(0.1, 1.0))

    def _turn(self, mailbox: Mailbox) -> None:
        """Send what is due, receive what waits, and note when there was nothing at all."""
        self._settled(mailbox, mailbox.flush())
        quiet = (self._args.folder / QUIET).exists()
        due = 0 if quiet else min(_BATCH, self._due() - len(self._acknowledged))
        if due > 0:
            self._send(mailbox, self._random.randint(1, due))
        found = [self._handle(mailbox, delivery) for delivery in mailbox.receive()]
        if quiet and not found and not mailbox.spool.unsent(1) and not mailbox.spool.unsaid(1):
            self._journal.write(CALM)
            self._stop.wait(1.0)
        self._stop.wait(0.2)

    def _due(self) -> int:
        """Return how many messages should have been sent by now."""
        share = (time.time() - self._args.start) / max(1.0, self._args.seconds)
        return int(min(1.0, share) * self._args.quota + 0.999)

    def _send(self, mailbox: Mailbox, count: int) -> None:
        drafts = []
        for _ in range(count):
            token = f"{self._name} {secrets.token_hex(8)}"
            others = [name for name in self._args.everybody if name != self._name]
            to = self._random.sample(others, self._random.randint(1, min(4, len(others))))
            precedence = self._random.choice(_PRECEDENCES)
            filler = "x" * self._random.randint(1, 900)
            message = officer_acknowledgement(purpose=token, foreseen_use=filler, precedence=precedence)
            self._journal.write(MEANT, token=token, to=to, precedence=precedence, sha256=_digest(message))
            suite = DEFAULT_SUITE if self._random.random() < _HYBRID else HYBRID_KEM
            drafts.append(Draft(message, to, suite=suite, blind=self._random.random() < _BLIND))
        self._settled(mailbox, mailbox.send_all(drafts))
        if self._acknowledged and self._random.random() < _RECALL * count:
            digest = bytes.fromhex(self._random.choice(sorted(self._acknowledged)))
            with contextlib.suppress(ExchangeError):  # its outbox may not have it any more
                mailbox.recall(digest)

    def _settled(self, mailbox: Mailbox, results: Sequence[Result]) -> None:
        for result in results:
            if not isinstance(result, Receipt):
                self._journal.write(FAILED, reason=result.reason.word, field=result.field)
            elif (digest := result.subject.envelope_digest.hex()) not in self._acknowledged:
                self._acknowledged.add(digest)
                sent = mailbox.spool.sent(result.subject.envelope_digest)
                to = addressees(Envelope.parse(sent.raw)) if sent else []
                self._journal.write(ACKNOWLEDGED, digest=digest, to=to)

    def _handle(self, mailbox: Mailbox, delivery: Delivery) -> bool:
        """Act on a message once, as the application of this agency."""
        digest = delivery.digest.hex()
        refuse = int(digest[:4], 16) / 0x10000 < _REFUSE  # the same at every try
        if not (delivery.repeated and digest in self._handed):
            marks: Any = catalogue.handling_of(delivery.message)
            kind = REFUSED if refuse else HANDED
            said = {"token": marks.purpose, "repeated": delivery.repeated, "sha256": _digest(delivery.message)}
            self._journal.write(kind, digest=digest, **said)
            self._handed.add(digest)
        if refuse:
            mailbox.refuse(delivery, Reason.RULE_BROKEN)
        else:
            mailbox.acknowledge(delivery)
        return True


def _digest(message: Any) -> str:
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()


def main() -> None:
    """Run the agencies that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--everybody", nargs="+", required=True)
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--quota", type=int, required=True, help="messages that each sends")
    parser.add_argument("--start", type=float, required=True, help="when sending begins")
    parser.add_argument("--seconds", type=float, required=True, help="over how long it is spread")
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=Agency(args, name, stop).run, name=name) for name in args.names]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)


if __name__ == "__main__":
    main()
