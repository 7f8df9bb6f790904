"""Flows: who has asked whom what, what was answered, what may come next, and by when (SPEC section Flows).

Pure rules over `Step`s: one for each message that an agency sent or received. The state of everything is a function of
the set of steps, so that it is the same after a restart, and whatever order messages arrive in.
"""

from infoexchange.flows.clocks import DEFAULT_CLOCKS, Clocks, WorkingDays
from infoexchange.flows.following import Following, follow
from infoexchange.flows.step import Kind, Said, Step
from infoexchange.flows.thread import Due, Duty, Objection, Rule, State, Thread

__all__ = [
    "DEFAULT_CLOCKS",
    "Clocks",
    "Due",
    "Duty",
    "Following",
    "Kind",
    "Objection",
    "Rule",
    "Said",
    "State",
    "Step",
    "Thread",
    "WorkingDays",
    "follow",
]
