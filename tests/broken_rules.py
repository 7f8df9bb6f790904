"""What every test of broken rules does with an example: spoil it, and look what the rules say."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import examples, rules
from infoexchange.errors import Reason, RefusedError


def refuses(name, spoil, field, hint):
    """Spoil the example of a type, and expect the field to be named, with what would be right."""
    message = examples.message(name)
    spoil(message)
    found = {violation.field: violation for violation in rules.violations(message)}
    assert field in found
    assert hint in found[field].next_step
    assert found[field].detail
    with pytest.raises(RefusedError) as refused:
        rules.check(message)
    assert refused.value.reason is Reason.RULE_BROKEN
    assert refused.value.field in found


def accepts(name, change):
    """Change the example of a type in a way the rules allow."""
    message = examples.message(name)
    change(message)
    assert rules.violations(message) == []
