"""Take the example of a message type, spoil it, and see the broken rule named."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import examples, rules
from infoexchange.errors import Reason, RefusedError


def refused(name, spoil, field, hint):
    """Spoil the example of a type and hold that the rule names the field and a word of what is right."""
    message = examples.message(name)
    spoil(message)
    found = {violation.field: violation for violation in rules.violations(message)}
    assert field in found, list(found)
    assert hint in found[field].next_step
    assert found[field].detail
    with pytest.raises(RefusedError) as caught:
        rules.check(message)
    assert caught.value.reason is Reason.RULE_BROKEN
    assert caught.value.field in found


def accepted(name, change):
    """Change the example of a type and hold that it may still be sent."""
    message = examples.message(name)
    change(message)
    assert rules.violations(message) == []
