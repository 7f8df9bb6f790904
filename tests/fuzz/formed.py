"""Targets: foreign tables and maps whose columns stand in forms, and the forms themselves."""

from __future__ import annotations

import functools
from typing import Any

from catalogue_messages import handling
from fuzz import changing
from fuzz.target import Target, of
from fuzz.world import World
from infoexchange.bridges import htcds
from infoexchange.bridges.geographic import arcgis, geojson, imsma
from infoexchange.catalogue import examples, forms

_FORM = b"""f,1,HazardReport,own
column,field,also,words,default,meaning
id,hazard_id,no|number,,,
kind,type,,sus=SHA,SHA,
evidence,evidence,,,,
"""


def _bridged(module: Any, world: World, raw: bytes) -> list[Any]:
    # As strict as a message on a victim must be, so that no mark of an example is lost.
    return list(module.read(raw, handling(domain=0, tlp=4), now=world.now))


def _form(raw: bytes) -> Any:
    return forms.Form.parse(raw.decode("utf-8", "surrogateescape").splitlines(keepends=True))


def targets(world: World) -> list[Target]:
    """Return the targets."""

    def bridged(name: str, module: Any, example: str, change: Any) -> Target:
        read = functools.partial(_bridged, module, world)
        return of(name, module.read, [examples.read(example)], change=change, read=read)

    return [
        bridged("GeoJSON", geojson, "reports.geojson", changing.tree),
        bridged("feature JSON of ArcGIS", arcgis, "hazards.arcgis.json", changing.tree),
        bridged("table of IMSMA", imsma, "released.imsma.csv", changing.lines),
        bridged("table of HTCDS", htcds, "referrals.htcds.csv", changing.lines),
        of("form", forms.Form, [_FORM], change=changing.lines, raw=None, read=_form),
    ]
