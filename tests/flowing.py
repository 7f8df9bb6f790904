"""Steps that tests make by hand: who said what about what, minutes after a Monday noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from infoexchange.flows import Following, Kind, Said, Step, Thread, follow
from infoexchange.states import OpStatus, Precedence

ASKER, ASKED, OTHER = "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example"
MONDAY = datetime(2026, 2, 2, 12, tzinfo=UTC)
REQUEST, REPLY = "RequestForInformation", "InformationResponse"


def named(name: str) -> bytes:
    return sha256(name.encode()).digest()


def after(minutes: float) -> datetime:
    return MONDAY + timedelta(minutes=minutes)


def step(name: str, sender: str, to: object = ASKED, *, at: float = 0, reply: str = "", **said: object) -> Step:
    """Return a step; `about` and `reply` are names, and whoever is in `to` is told."""
    about = tuple(named(one) for one in str(said.pop("about", "")).split())
    facts = {"schema": "StatusUpdate", "op_status": OpStatus.EXERCISE, "precedence": Precedence.ROUTINE, **said}
    recipients = (to,) if isinstance(to, str) else tuple(to)  # type: ignore[arg-type]
    return Step(
        digest=named(name),
        sender=sender,
        recipients=recipients,
        at=after(at),
        sequence=1 + int(at * 10),
        in_reply_to=named(reply) if reply else b"",
        said=Said(about=about, **facts),  # type: ignore[arg-type]
    )


def request(name: str = "request", to: object = ASKED, **changed: object) -> Step:
    return step(name, ASKER, to, **{"schema": REQUEST, "asks": True, **changed})  # type: ignore[arg-type]


def answer(name: str, kind: Kind, *, by: str = ASKED, about: str = "request", **changed: object) -> Step:
    facts = {"schema": REPLY, "kind": kind, "about": about, "to": ASKER, **changed}
    return step(name, by, **facts)  # type: ignore[arg-type]


def seen(kind: Kind, *, at: float = 1, by: str = ASKED, about: str = "request") -> Step:
    schema = "OfficerAcknowledgement"
    return step(f"{kind.name} {at} {by}", by, ASKER, at=at, schema=schema, kind=kind, about=about)


def stands(*steps: Step, agency: str = ASKER) -> Following:
    return follow(steps, agency)


def thread(*steps: Step, agency: str = ASKER) -> Thread:
    """Return the thread of the first step."""
    return next(t for t in stands(*steps, agency=agency).threads if t.root.digest == steps[0].digest)
