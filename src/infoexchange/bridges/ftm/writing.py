"""Writing: messages as entities of FollowTheMoney, one per line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from infoexchange.bridges.ftm import kinds, links, rest
from infoexchange.bridges.ftm.entities import OWN, Entity
from infoexchange.catalogue import Relationship, labels
from infoexchange.errors import Reason, error

# Ids of their world, which must stay: Wikidata, their own, and digests.
_THEIR_ID = re.compile(r"Q[1-9][0-9]{1,12}|NK-[A-Za-z0-9]{22}|[0-9a-f]{40}")
# What stands in time has no keywords.
_IN_TIME = frozenset({*links.EDGES, "Payment", "Sanction", "Passport", "Identification"})
# References in a record: those that a property says, and those that need a link of their own, with our word for it.
_PROPERTY_OF = {("CryptoWallet", "holder_ref"): "holder", ("Vessel", "operator_ref"): "operator"}
_REFS = {
    "officer_refs": "director-of",
    "owner_ref": "owner-of",
    "holder_ref": "owner-of",
    "operator_ref": "operator-of",
    "manager_ref": "manager-of",
}


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a file with the entities of messages and, on each of them, its marks.

    Args:
        messages: Messages that keep the rules of the catalogue, of the types in `kinds.TYPES`.
        now: The time of writing, for what FollowTheMoney says by dates, such as the end of a listing.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried; `RULE_BROKEN` for another type of message, and for
            a value that no text can say.
    """
    lines: list[str] = []
    seen: set[str] = set()
    used: set[str] = set()
    for message in messages:
        if message.DESCRIPTOR.name not in kinds.TYPES:
            step = f"Choose another format; this one takes {', '.join(kinds.TYPES)}."
            detail = "FollowTheMoney has no entities for messages of this type"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step=step)
        writer = _Writer(message, labels.to_labels(message.handling, allow_red=allow_red), now, used)
        # The same message twice is one set of entities.
        if writer.key not in seen:
            seen.add(writer.key)
            lines.extend(json.dumps(found, ensure_ascii=False, sort_keys=True) for found in writer.entities())
    return "".join(f"{line}\n" for line in lines).encode()


class _Writer:
    """One message on its way: its key, its marks, and the entities its records became."""

    def __init__(self, message: Any, texts: list[str], now: datetime, used: set[str]) -> None:
        self.message, self.texts, self.now, self.used = message, texts, now, used
        self.name = message.DESCRIPTOR.name
        self.fields = kinds.record_fields(self.name)
        self.key = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:32]
        # Id and schema of the entity that a record became, by its local_id.
        self.known: dict[str, tuple[str, str]] = {}
        self.holders = {account.local_id: account.holder_ref for account in getattr(message, "accounts", ())}

    def entities(self) -> Iterator[dict[str, Any]]:
        """Give the entities: what the message says besides its records first, then the records, then links."""
        records = [(field, record) for field in self.fields.values() for record in self.records(field)]
        things = [(field, record) for field, record in records if record.DESCRIPTOR.name != "Relationship"]
        written = [self.record(field.name, record, index) for index, (field, record) in enumerate(things)]
        yield self.head()
        yield from written
        for index, (field, record) in enumerate(records):
            if record.DESCRIPTOR.name == "Relationship":
                yield self.relationship(field.name, record, index)
        for index, (_, record) in enumerate(things):
            yield from self.asides(record, (written[index]["id"], written[index]["schema"]))

    def records(self, field: Any) -> list[Any]:
        """Return the records of a field, one or many."""
        if field.is_repeated:
            return list(getattr(self.message, field.name))
        return [getattr(self.message, field.name)] if self.message.HasField(field.name) else []

    def entity(
        self, schema: str, name: str, properties: dict[str, list[str]], local_id: str = "", **own: Any
    ) -> dict[str, Any]:
        """Return one entity with its marks, without what is empty."""
        found = {key: [value for value in values if value] for key, values in properties.items()}
        label = "summary" if schema in _IN_TIME else "keywords"
        found[label] = [*found.get(label, []), *self.texts]
        own = {"marks": self.texts, "message": self.key} | {key: value for key, value in own.items() if value}
        # An id of theirs stands once in a file; the same person in a second message gets an id of ours there.
        keeps = _THEIR_ID.fullmatch(local_id) and local_id not in self.used
        self.used.add(local_id)
        return {
            "id": local_id if keeps else self.identifier(name),
            "schema": schema,
            "properties": {key: list(dict.fromkeys(values)) for key, values in found.items() if values},
            OWN: own,
        }

    def identifier(self, name: str) -> str:
        """Return the id that always belongs to something of this message."""
        return f"ie-{hashlib.sha256(f'{self.key}/{name}'.encode()).hexdigest()[:40]}"

    def head(self) -> dict[str, Any]:
        """Return what the message says besides its records: a listing, or a note."""
        left = type(self.message)()
        left.CopyFrom(self.message)
        for name in ("handling", *self.fields):
            left.ClearField(name)
        back = type(self.message)()
        schema, properties = "Note", {"name": [self.message.subject], "description": [f"{self.name} of infoexchange"]}
        if self.name == "SanctionsUpdate":
            listed = self.message.WhichOneof("listed")
            local_id = getattr(self.message, listed).local_id if listed else ""
            if local_id not in self.known:
                raise error(Reason.RULE_BROKEN, field="listed", detail="nobody is listed")
            schema, properties = links.from_sanction(self.message, self.known[local_id][0])
            back = links.to_sanction(self.back(schema, properties), _no_note, self.now)
        return self.entity(schema, "", properties, type=self.name, rest=rest.difference(left, back))

    def back(self, schema: str, properties: dict[str, list[str]]) -> Entity:
        """Return what a reader will find."""
        found = {name: [value.strip() for value in values if value.strip()] for name, values in properties.items()}
        return Entity("", "", schema, found)

    def record(self, field: str, record: Any, index: int) -> dict[str, Any]:
        """Return the entity of one record."""
        kind = record.DESCRIPTOR.name
        schema, properties = kinds.WRITERS[kind](record)
        back = kinds.READERS[kind](self.back(schema, properties), _no_note, self.now)
        for name in kinds.STATED:
            if name in back.DESCRIPTOR.fields_by_name:
                back.ClearField(name)
        if schema == "Payment":
            properties |= self.sides(record)
        for (owner, name), said_by in _PROPERTY_OF.items():
            if owner == schema and getattr(record, name) in self.known:
                properties[said_by] = [self.known[getattr(record, name)][0]]
        if self.name == "SanctionsUpdate":
            for name, values in links.from_further(self.message).items():
                properties[name] = [*properties.get(name, []), *values]
        left = rest.difference(record, back)
        found = self.entity(schema, f"record/{index}", properties, record.local_id, field=field, rest=left)
        if record.local_id:
            self.known[record.local_id] = (found["id"], schema)
        return found

    def sides(self, record: Any) -> dict[str, list[str]]:
        """Return who paid and who received, as far as the message says; whoever holds an account pays from it."""
        found: dict[str, list[str]] = {}
        for reference, party in ((record.from_ref, "payer"), (record.to_ref, "beneficiary")):
            identifier, schema = self.known.get(reference, ("", ""))
            if schema == "BankAccount":
                found[f"{party}Account"] = [identifier]
                identifier, schema = self.known.get(self.holders[reference], ("", ""))
            if schema in links.PARTIES:
                found[party] = [identifier]
        return found

    def relationship(self, field: str, record: Any, index: int) -> dict[str, Any]:
        """Return the entity of a relationship; one with an end that is no entity is a note."""
        left = rest.difference(record, Relationship())
        ends = [self.known.get(ref) for ref in (record.from_ref, record.to_ref)]
        if any(end is None or end[1] in _IN_TIME for end in ends):
            text = f"{record.from_ref} {record.type} {record.to_ref}"
            return self.entity("Note", f"record/{index}", {"name": [text]}, field=field, rest=left)
        source, target = ends[0] or ("", ""), ends[1] or ("", "")
        schema, properties = links.from_relationship(record, source, target)
        return self.entity(schema, f"record/{index}", properties, record.local_id, field=field, rest=left)

    def asides(self, record: Any, target: tuple[str, str]) -> Iterator[dict[str, Any]]:
        """Give entities for other tools that repeat what the record says: documents, officers, owners."""
        for index, document in enumerate(getattr(record, "documents", ())):
            schema, properties = links.from_document(document, target[0])
            yield self.entity(schema, f"aside/{target[0]}/{index}", properties, aside=True)
        for field, word in _REFS.items():
            value = getattr(record, field, ())
            for reference in [value] if isinstance(value, str) else value:
                if reference not in self.known or (target[1], field) in _PROPERTY_OF:
                    continue
                schema, properties = links.link(word, self.known[reference], target)
                yield self.entity(schema, f"aside/{target[0]}/{field}/{reference}", properties, aside=True)


def _no_note(_: str, __: str) -> None:
    """Take the notes on what is read back only to be compared."""
