"""Pouch: what one relay sends another by courier, on a disk or through a diode (SPEC section Pouch).

It holds what would have gone over the network, item by item and byte by byte, and one signature over all of it, so that
whoever finds a disk can change nothing and add nothing. Nothing of it is secret that a relay does not see anyway.
"""

from infoexchange.pouch.file import ITEMS_MAX, Contents, Pouch, write
from infoexchange.pouch.items import ITEM_SIZE_MAX, PART_SIZE_MAX, Item, Kind, Part, Refusal, Told, bundle_of
from infoexchange.pouch.seal import SEAL_SIZE_MAX, Seal, Sealed

__all__ = [
    "ITEMS_MAX",
    "ITEM_SIZE_MAX",
    "PART_SIZE_MAX",
    "SEAL_SIZE_MAX",
    "Contents",
    "Item",
    "Kind",
    "Part",
    "Pouch",
    "Refusal",
    "Seal",
    "Sealed",
    "Told",
    "bundle_of",
    "write",
]
