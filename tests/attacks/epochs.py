"""Epochs: later bundles of an agency of the scene, as it makes them itself, and as a thief of its keys makes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from attacks.scene import Scene
from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.keys import EpochKeys
from infoexchange.suites import SUITES
from infoexchange.v1 import bundle_pb2

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Epoch:
    """Keys and the bundle that publishes them."""

    keys: EpochKeys
    bundle: KeyBundle


def second(
    scene: Scene, name: str, *, begins: datetime | None = None, lasts: timedelta | None = None, withdraw: bool = False
) -> Epoch:
    """An agency's bundle of epoch 2, from now on for 30 days unless more is said."""
    member = scene.member(name)
    keys = EpochKeys.make(2, suites=[*SUITES.values(), scene.suite])
    identity = replace(member.identity, epochs=(keys, *member.identity.epochs))
    begins = begins or scene.now
    bundle = KeyBundle.issue(
        identity, member.certificates, (member.crl,), now=begins, previous=member.bundle, withdraw=withdraw
    )
    if lasts:
        bundle = changed(scene, name, bundle, not_after_ms=ms(begins + lasts))
    return Epoch(keys, bundle)


def changed(scene: Scene, name: str, bundle: KeyBundle, **fields: object) -> KeyBundle:
    """A bundle with other fields, signed again by its owner's identity."""
    member = scene.member(name)
    message = bundle_pb2.KeyBundle.FromString(bundle.dsse.payload)
    for field, value in fields.items():
        setattr(message, field, value)
    payload = message.SerializeToString(deterministic=True)
    dsse = Dsse.make(TYPE_KEYBUNDLE, payload, member.identity.key.sign(TYPE_KEYBUNDLE, payload))
    return KeyBundle.parse(dsse.raw, member.certificates, bundle.crls)


def ms(moment: datetime) -> int:
    """A time as bundles carry it."""
    return wire.to_ms(moment)
