"""Notices: what an agency has to say to its relay, until the relay has taken it."""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.delivery import Refusal
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import BATCH_MAX, Notice, Result
from infoexchange.states import Event


class Notices:
    """Statements on their way from the spool to the relay."""

    def __init__(self, desk: Desk) -> None:
        """Hold what both sides of a mailbox share."""
        self._desk = desk

    def say_all(self) -> None:
        """Tell the relay what it has not taken yet; recall orders come first.

        Raises:
            ExchangeError: Why the relay cannot take something now; the rest is said.
        """
        while unsaid := self._desk.spool.unsaid(BATCH_MAX):
            self._tell(unsaid)

    def say_orders(self) -> None:
        """Tell the relay of recalls it has not taken, so that nothing goes before its recall; raises as `say_all`."""
        while orders := [n for n in self._desk.spool.unsaid(BATCH_MAX) if n.state is Event.RECALLED]:
            self._tell(orders)

    def _tell(self, notices: Sequence[Notice]) -> None:
        results = self.say(notices)
        for notice, result in zip(notices, results, strict=True):
            if isinstance(result, ExchangeError) and not _is_for_later(result):
                self._desk.refused.append(Refusal(notice.digest, "", result, signed=False))
        for problem in results:
            if isinstance(problem, ExchangeError) and _is_for_later(problem):
                raise problem

    def say(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Return what the relay says to each; what it takes, or refuses for good, is not said again."""
        results = self._desk.relay.acknowledge(notices)
        settled = [n for n, result in zip(notices, results, strict=True) if not _is_for_later(result)]
        self._desk.spool.said(settled)
        return results


def _is_for_later(result: Result) -> bool:
    """Whether the same statement may be taken later: the relay is away, or its clock is behind ours."""
    return isinstance(result, UnavailableError) or (
        isinstance(result, ExchangeError) and result.reason is Reason.NOT_YET_VALID
    )
