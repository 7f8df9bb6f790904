"""Gathering: entities that are not of our writing, as records and what ties them to one another."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

from infoexchange.bridges import Reading
from infoexchange.bridges.ftm import kinds, links, words
from infoexchange.bridges.ftm.entities import LABELLED, Entity
from infoexchange.bridges.ftm.parties import Note
from infoexchange.catalogue import Address, PersonRole, SanctionsUpdate, labels, values

# The shortest limit that any record has for its own name.
_LOCAL_ID_MAX = 100
_ADDRESSES_MAX = 50  # as many as a person has
_BASIS = ("program", "authority", "listingDate")
_PLACES = ("street", "street2", "postOfficeBox", "region", "state")


class Found(NamedTuple):
    """A record and the entity it was read from."""

    record: Any
    entity: Entity


class Ref(NamedTuple):
    """One record names another in a field: whose field, which, and whom it names."""

    owner: str
    field: str
    names: str


class Gathered:
    """What the entities of a file say: records by the id of their entity, references, links and listings."""

    def __init__(self, entities: list[Entity], reading: Reading, now: datetime) -> None:
        """Read every entity."""
        self.reading, self.now = reading, now
        self.records: dict[str, Found] = {}
        self.refs: list[Ref] = []
        # Fields that take one reference and have it.
        self.taken: set[tuple[str, str]] = set()
        # A payment, the account it names on one side, and the party it names there too.
        self.holders: list[tuple[str, str, str]] = []
        self.relationships: list[Found] = []
        self.listings: list[tuple[SanctionsUpdate, Found]] = []
        self.addresses = {entity.id: entity for entity in entities if entity.schema == "Address"}
        rest = []
        for entity in entities:
            if entity.schema in kinds.SCHEMAS:
                self.records[entity.id] = Found(self.record(entity), entity)
            elif entity.schema != "Address":
                rest.append(entity)
        self.local_ids = {identifier: found.record.local_id for identifier, found in self.records.items()}
        for identifier in list(self.records):
            self.tie(identifier)
        for entity in rest:
            self.link(entity)
        self.hold()
        for entity in entities:
            self.note_rest(entity)

    def note(self, entity: Entity) -> Note:
        """Return what notes something on an entity."""
        return lambda name, detail: self.reading.note(entity.place, name[:60], detail)

    def record(self, entity: Entity) -> Any:
        """Return the record of an entity; it is called by the id of the entity."""
        record = kinds.READERS[kinds.SCHEMAS[entity.schema]](entity, self.note(entity), self.now)
        record.local_id = entity.id
        if len(entity.id) > _LOCAL_ID_MAX:
            record.local_id = f"ftm-{hashlib.sha256(entity.id.encode()).hexdigest()[:40]}"
            self.note(entity)("id", f"longer than {_LOCAL_ID_MAX} characters: called {record.local_id}")
        if hasattr(record, "addresses"):
            named = entity.take("addressEntity")
            for identifier in named[:_ADDRESSES_MAX]:
                self.address(record, entity, identifier)
            if len(named) > _ADDRESSES_MAX:
                self.note(entity)("addressEntity", f"more than {_ADDRESSES_MAX}: the others are left out")
        return record

    def address(self, record: Any, entity: Entity, identifier: str) -> None:
        """Add the address that an entity names; what it says in one line is not said twice."""
        found = self.addresses.get(identifier)
        if found is None:
            self.note(entity)("addressEntity", "no such entity in the file")
            return
        lines = [text[:200] for text in found.take(*_PLACES)]
        full = found.take("full", "name")
        made = Address(lines=lines[:10] or [text[:200] for text in full[:1]])
        made.locality, made.postal_code = found.first("city")[:200], found.first("postalCode")[:20]
        made.country = values.country(found.first("country"))
        for index in range(len(record.addresses) - 1, -1, -1):
            if "".join(record.addresses[index].lines) in full:
                del record.addresses[index]
        record.addresses.append(made)

    def tie(self, identifier: str) -> None:
        """Take the references that stand in properties of a record's own entity."""
        record, entity = self.records[identifier]
        kind = record.DESCRIPTOR.name
        named: tuple[tuple[str, str], ...] = ()
        if kind == "Vessel":
            named = (("operator_ref", "operator"), ("owner_ref", "owner"))
        elif kind == "CryptoAddress":
            named = (("holder_ref", "holder"),)
        elif kind == "TransactionRecord":
            self.sides(identifier)
        for field, name in named:
            self.name(identifier, field, entity.take(name), name)

    def name(self, owner: str, field: str, targets: list[str], name: str) -> None:
        """Take references to entities of the file that are records; the first counts where there is only one place."""
        entity = self.records[owner].entity
        known = [target for target in targets if target in self.records]
        if len(known) != len(targets) or len(known) > 1:
            self.note(entity)(name, "it names an entity that is not in the file, or more than one")
        if known:
            self.refs.append(Ref(owner, field, known[0]))
            self.taken.add((owner, field))

    def sides(self, identifier: str) -> None:
        """Take who paid and who received, by account where one is named; where one side is known, it took part."""
        entity = self.records[identifier].entity
        sides = []
        for party in ("payer", "beneficiary"):
            accounts, parties = entity.take(f"{party}Account"), entity.take(party)
            named = [target for target in (*accounts, *parties) if target in self.records]
            if len(named) != len(accounts) + len(parties) or len(accounts) > 1 or len(parties) > 1:
                self.note(entity)(party, "it names an entity that is not in the file, or more than one")
            sides.append(named[0] if named else "")
            if len(named) > 1:
                self.holders.append((identifier, named[0], named[1]))
        if all(sides):
            self.refs += [Ref(identifier, "from_ref", sides[0]), Ref(identifier, "to_ref", sides[1])]
        elif any(sides):
            self.refs.append(Ref(identifier, "parties", sides[0] or sides[1]))
            self.note(entity)("payer", "only one side is known: it took part")
        else:
            self.note(entity)("payer", "neither side is in the file: left out")
            del self.records[identifier]

    def hold(self) -> None:
        """Take whoever paid from an account, or was paid to it, as its holder, where the file names no other."""
        known = {(ref.owner, ref.names) for ref in self.refs if ref.field == "holder_ref"}
        for payment, account, party in self.holders:
            is_account = self.records[account].record.DESCRIPTOR.name == "FinancialAccount"
            if is_account and (account, "holder_ref") not in self.taken:
                self.refs.append(Ref(account, "holder_ref", party))
                self.taken.add((account, "holder_ref"))
                known.add((account, party))
            elif (account, party) not in known:
                place = self.records[payment].entity.place
                self.reading.note(place, "payer", "another holds the account: kept by the account only")

    def link(self, entity: Entity) -> None:
        """Take what ties entities: a link, a document, a listing."""
        note = self.note(entity)
        if entity.schema in links.EDGES:
            record = links.to_relationship(entity, note, self.local_ids)
            if record is None:
                note("schema", f"{entity.schema} with an entity that is not carried: left out")
            else:
                record.local_id = entity.id[:200]
                self.relation(record, entity)
        elif entity.schema in {"Passport", "Identification"}:
            holder = self.records.get(entity.first("holder"))
            document = links.to_document(entity, note)
            if holder is None or not hasattr(holder.record, "documents"):
                note("holder", "no person of the file holds it: left out")
            elif document is not None:
                holder.record.documents.append(document)
        elif entity.schema == "Sanction":
            self.sanction(entity)
        else:
            note("schema", f"entities of schema {entity.schema[:60]} are not carried")

    def relation(self, record: Any, entity: Entity) -> None:
        """Keep a link: as a reference where our records have a field for it and no dates are said, else by itself."""
        edge = links.EDGES[entity.schema]
        source, target = entity.first(edge.source), entity.first(edge.target)
        kind = self.records[target].record.DESCRIPTOR.name if target in self.records else ""
        field = {
            ("owner-of", "Vessel"): "owner_ref",
            ("owner-of", "FinancialAccount"): "holder_ref",
            ("director-of", "Organisation"): "officer_refs",
        }.get((record.type, kind), "")
        dated = record.HasField("start_at") or record.HasField("end_at")
        if field and not dated and (target, field) not in self.taken:
            self.refs.append(Ref(target, field, source))
        else:
            self.relationships.append(Found(record, entity))

    def sanction(self, entity: Entity) -> None:
        """Keep a listing with a reference of the UN list; another one says only what somebody is."""
        note = self.note(entity)
        targets = [self.records[target] for target in entity.take("entity") if target in self.records]
        # Once for all who are listed: a file may name many of them, and long lists.
        basis = ", ".join(dict.fromkeys(value for name in _BASIS for value in entity.properties.get(name, ())))
        basis = f"listed: {basis or 'no list named'}"[:1000]
        for found in targets:
            if found.record.DESCRIPTOR.name == "Person":
                entity.take(*_BASIS)
                found.record.role, found.record.role_text = PersonRole.PERSON_ROLE_SUBJECT_OF_SANCTION, ""
                found.record.status_basis = basis
        reference = next((text for text in entity.properties.get("unscId", ()) if links.UN_REF.fullmatch(text)), "")
        kinds_of = [found.record.DESCRIPTOR.name for found in targets]
        if not reference or len(targets) != 1 or kinds_of[0] != {"i": "Person", "e": "Organisation"}[reference[2]]:
            note("unscId", "not one person or organisation with a reference of the UN list: no SanctionsUpdate is made")
            return
        entity.properties["unscId"] = [reference]
        self.listings.append((links.to_sanction(entity, note, self.now), targets[0]))

    def note_rest(self, entity: Entity) -> None:
        """Note the properties of an entity that nothing was made of."""
        if entity.schema not in (*kinds.SCHEMAS, *links.EDGES, "Sanction", "Passport", "Identification", "Address"):
            return
        for name in sorted(entity.properties.keys() - entity.taken):
            if name in LABELLED and all(labels.is_label(value) for value in entity.properties[name]):
                continue
            detail = "never read: it belongs to the sensitive categories" if name in words.SENSITIVE else "not carried"
            self.reading.note(entity.place, name[:60], detail)
