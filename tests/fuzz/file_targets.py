"""File targets: what people keep, edit or hand to one another, and formats of others."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzz import changing
from fuzz.target import Target, decoded, of
from fuzz.world import SENDER, World
from infoexchange import catalogue, certificates
from infoexchange.bridges import stix, tables
from infoexchange.catalogue import codes, examples, text
from infoexchange.cli import draft, rootkey
from infoexchange.errors import ExchangeError
from infoexchange.keys import Identity
from infoexchange.log import LogKeys
from infoexchange.witness import WitnessKeys
from infoexchange_relay import config
from infoexchange_relay.cli.folder import TEMPLATE
from messages import handling, officer_acknowledgement


def _bridged(module: Any, world: World, raw: bytes) -> list[Any]:
    return list(module.read(raw, handling(domain=0), now=world.now))


def _in_file(read: Callable[[Path], Any], folder: Path, name: str, beside: Mapping[str, bytes]) -> Callable[..., Any]:
    """Return a reader of bytes from a reader of a file, with what stands beside the file."""
    for place, content in beside.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)

    def reader(raw: bytes) -> Any:
        (folder / name).write_bytes(raw)
        return read(folder / name)

    return reader


def files(world: World, folder: Path) -> list[Target]:
    """Files that people keep, edit or hand to one another."""
    community = world.exchange.community
    root = community.root_keys[0]
    secret, public = rootkey.write_secret(root, "party 1"), rootkey.write_public(root, "party 1")
    ca = community.cas["th"]
    settings = TEMPLATE.format(name='"relay.th.example"', listen='"127.0.0.1:7443"').encode()
    drafted = functools.partial(draft.parse_draft, previous=None, previous_digest=b"", now=world.now)
    template = "\n".join(line for line in draft.TEMPLATE.splitlines() if not line.lstrip().startswith("//"))
    log, witness = community.log_keys["relay.th.example"], community.witness_keys["relay.th.example"]
    registration = {
        "form": draft.REGISTRATION_FORM,
        "name": "relay.th.example",
        "nation": "th",
        "address": "127.0.0.1:7443",
        "log_keys": [str(key) for key in log.verifier_keys],
        "witness_keys": [str(key) for key in witness.verifier_keys],
    }
    named = {
        "roots.pb": community.roots.raw,
        "th/ca.pem": certificates.to_pem(ca.certificate),
        "th/registration.json": json.dumps(registration).encode(),
    }

    def treed(name: str, reader: Any, seeds: Iterable[bytes], **how: Any) -> Target:
        return of(name, reader, seeds, change=changing.tree, raw=None, **how)

    return [
        treed("Identity", Identity, [identity.raw for identity in world.identities]),
        treed("LogKeys", LogKeys, [keys.raw for keys in community.log_keys.values()]),
        treed("WitnessKeys", WitnessKeys, [keys.raw for keys in community.witness_keys.values()]),
        treed("root key", rootkey.parse_secret, [secret], read=lambda raw: rootkey.parse_secret(raw, field="file")),
        treed("root public key", rootkey.parse_public, [public],
              read=lambda raw: rootkey.parse_public(raw, field="file")),
        treed("draft", draft.parse_draft, [template.encode()], allowed=(ExchangeError, OSError),
              read=_in_file(drafted, folder / "draft", "draft.json", named)),
        treed("relay registration", draft.parse_draft, [named["th/registration.json"]],
              read=_in_file(lambda file: drafted(file.parent.parent / "draft.json"), folder / "registration",
                            "th/registration.json", {**named, "draft.json": template.encode()})),
        of("relay configuration", config.load, [settings], change=changing.lines, allowed=(config.ConfigError,),
            read=_in_file(lambda file: config.load(file, {}), folder, "relay.toml", {"relay.toml": b""})),
        of("relay address", config.parse_address, [b"127.0.0.1:7443", b"[::1]:0"], allowed=(ValueError,),
            read=lambda raw: config.parse_address(decoded(raw))),
        of("certificate", certificates.load, community.members[SENDER].certificates,
            read=lambda raw: certificates.name_of(certificates.load(raw))),
        of("leaf certificate", certificates.verify_leaf, community.members[SENDER].certificates,
            read=lambda raw: certificates.verify_leaf(raw, (ca.certificate,), world.now)),
        of("revocation list", certificates.newest_list, [community.members[SENDER].crl],
            read=lambda raw: certificates.newest_list([raw], [ca.certificate])),
        of("PEM certificates", certificates.from_pem, [certificates.to_pem(ca.certificate)]),
        of("CA certificate file", certificates.NationalCa, [certificates.to_pem(ca.certificate)],
            read=lambda raw: certificates.NationalCa.parse(ca.key_pem, raw), raw=None),
        of("CA key file", certificates.NationalCa, [ca.key_pem],
            read=lambda raw: certificates.NationalCa.parse(raw, certificates.to_pem(ca.certificate)), raw=None),
        of("TLS key file", certificates.tls_request, [certificates.tls_key()],
           read=lambda raw: certificates.tls_request(SENDER, raw)),
        of("signing request", certificates.NationalCa.issue, _requests(world),
            read=lambda raw: ca.issue(raw, now=world.now)),
    ]  # fmt: skip


def _requests(world: World) -> Sequence[bytes]:
    identity = world.identities[0]
    return certificates.identity_requests(identity.name, identity.key.ed25519, identity.key.mldsa65)


def foreign(world: World) -> list[Target]:
    """Formats of others, and messages as JSON."""
    written = json.loads(text.to_json(officer_acknowledgement()))
    schema = catalogue.schema_of(officer_acknowledgement())
    listed = b"pirates,1,source\nvalue,meaning\nboarded,BOARDED\nfired upon,FIRED_UPON\n"

    def message(raw: bytes) -> Any:
        return text.from_json(schema, decoded(raw))

    return [
        of("STIX bundle", stix.read, [examples.read("indicators.stix.json")], change=changing.tree,
            read=functools.partial(_bridged, stix, world)),
        of("table of attacks", tables.read, [examples.read("piracy.csv")], change=changing.lines,
            read=functools.partial(_bridged, tables, world)),
        of("message as JSON", text.from_json, [json.dumps(written).encode()], change=changing.tree, read=message),
        of("code list", codes.parse, [listed], change=changing.lines,
            read=lambda raw: codes.parse(decoded(raw).splitlines())),
    ]  # fmt: skip
