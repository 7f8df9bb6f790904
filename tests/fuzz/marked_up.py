"""Targets that read XML: the reader itself, and the bridges that rest on it."""

from __future__ import annotations

import functools
from typing import Any

from fuzz import changing
from fuzz.target import Target, of
from fuzz.targets import _bridged
from fuzz.world import World
from infoexchange import markup
from infoexchange.bridges import cap, iso20022, unlist
from infoexchange.catalogue import examples
from messages import handling

_XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<list xmlns="urn:example:list" xmlns:e="urn:example:extra" made="2026-02-01">
 <entry number="1" e:kind="a"><name>Example &amp; Sons</name><e:note>x</e:note></entry>
 <entry number="2"><name><![CDATA[<Example>]]></name><!-- none --><empty/></entry>
</list>
"""


def _camt029(world: World) -> bytes:
    found = [examples.message(name) for name in ("StopPaymentRequest", "StopPaymentStatus")]
    return iso20022.write(found, now=world.now)


def _advisory(world: World) -> bytes:
    found: Any = examples.message("MaritimeAdvisory")
    found.handling.onward_transfer = handling().onward_transfer
    return cap.write([found], now=world.now)


def targets(world: World) -> list[Target]:
    """Return them all."""
    bridged = functools.partial(functools.partial, _bridged)
    return [
        of("XML", markup.parse, [_XML], change=changing.elements, read=lambda raw: list(markup.parse(raw).unread())),
        of("UN list", unlist.read, [examples.read("un-list.xml")], change=changing.elements,
           read=bridged(unlist, world)),
        of("camt", iso20022.read, [examples.read("camt056.xml"), _camt029(world)], change=changing.elements,
           read=bridged(iso20022, world)),
        of("CAP", cap.read, [examples.read("alert.cap.xml"), _advisory(world)], change=changing.elements,
           read=bridged(cap, world)),
    ]  # fmt: skip
