"""Packing: records that belong together, as messages that are not too large."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from infoexchange.bridges.ftm.gathering import Found, Gathered
from infoexchange.bridges.ftm.parties import full_name
from infoexchange.catalogue import (
    Domain,
    FiuSpontaneousDisclosure,
    Handling,
    ListedName,
    NameKind,
    NameQuality,
    SpontaneousInformation,
    TransactionSet,
    values,
)

# How many records one message takes: what the lists of its type allow of each kind.
_INFORMATION_MAX, _DISCLOSURE_MAX, _SET_MAX = 200, 200, 1000
_RELATIONSHIPS_MAX, _SUBJECTS_MAX, _OFFICERS_MAX = 1000, 200, 50
_FIELDS = {
    "Person": "persons",
    "Organisation": "organisations",
    "Vessel": "vessels",
    "FinancialAccount": "accounts",
    "CryptoAddress": "wallets",
    "TransactionRecord": "transactions",
}
_OTHER_NAMES = (
    ("name", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    ("alias", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_UNSPECIFIED),
    ("weakAlias", NameKind.NAME_KIND_ALIAS, NameQuality.NAME_QUALITY_LOW),
    ("previousName", NameKind.NAME_KIND_FORMER, NameQuality.NAME_QUALITY_UNSPECIFIED),
)


def messages(gathered: Gathered, handling: Handling) -> Iterator[Any]:
    """Give a message for each listing of the UN list, then messages with everything else."""
    for update, found in gathered.listings:
        yield _listing(update, found, handling)
    listed = {found.entity.id for _, found in gathered.listings}
    groups = [group for group in _groups(gathered) if len(group) > 1 or group[0] not in listed]
    packer = _Packer(gathered, handling)
    sets: list[list[str]] = []
    disclosures: list[list[str]] = []
    rest: list[list[str]] = []
    vessels: list[list[str]] = []
    for group in groups:
        kinds_of = {gathered.records[identifier].record.DESCRIPTOR.name for identifier in group}
        if not kinds_of & {"TransactionRecord", "FinancialAccount", "CryptoAddress"}:
            rest.append(group)
            continue
        # The messages of financial intelligence units hold no ships.
        ships = [one for one in group if gathered.records[one].record.DESCRIPTOR.name == "Vessel"]
        vessels += [ships] if ships else []
        others = [one for one in group if gathered.records[one].record.DESCRIPTOR.name != "Vessel"]
        (sets if "TransactionRecord" in kinds_of else disclosures).append(others)
    for packed in _pack(sets, _SET_MAX):
        yield packer.message(TransactionSet, packed)
    for packed in _pack(disclosures, _DISCLOSURE_MAX):
        yield packer.message(FiuSpontaneousDisclosure, packed)
    for packed in _pack(rest + vessels, _INFORMATION_MAX):
        yield packer.message(SpontaneousInformation, packed)
    packer.note_lost()


def _listing(update: Any, found: Found, handling: Handling) -> Any:
    """Return the message of one listing, with further names, births, titles and posts of who is listed."""
    update.handling.CopyFrom(handling)
    update.handling.domain = Domain.DOMAIN_TERRORISM
    record, entity = found
    if record.DESCRIPTOR.name == "Person":
        update.person.CopyFrom(record)
        name = full_name(record.names[0]) if record.names else entity.id
        births = [values.partial_date(text) for text in entity.take("birthDate")[1:]]
        update.other_births.extend([birth for birth in births if birth is not None][:20])
        update.titles.extend(text[:200] for text in entity.take("title")[:20])
        update.designations.extend(text[:500] for text in entity.take("position")[:50])
    else:
        update.organisation.CopyFrom(record)
        name = record.name
        for field, kind, quality in _OTHER_NAMES:
            names = [text for text in entity.properties.get(field, ()) if text != name and len(text) <= 500]
            update.other_names.extend(ListedName(text=text, kind=kind, quality=quality) for text in names)
        del update.other_names[200:]
    update.subject = f"{update.list_id or 'Sanctions list'}: {name}"[:500]
    return update


def _groups(gathered: Gathered) -> list[list[str]]:
    """Return the ids of records in groups that nothing ties to one another, in the order of the file."""
    parents = {identifier: identifier for identifier in gathered.records}

    def root(identifier: str) -> str:
        while parents[identifier] != identifier:
            # Halving the way keeps every later search short.
            parents[identifier] = parents[parents[identifier]]
            identifier = parents[identifier]
        return identifier

    names = {local_id: identifier for identifier, local_id in gathered.local_ids.items()}
    ties = [(ref.owner, ref.names) for ref in gathered.refs]
    ties += [(names[one.record.from_ref], names[one.record.to_ref]) for one in gathered.relationships]
    for first, second in ties:
        if first in parents and second in parents:
            parents[root(second)] = root(first)
    found: dict[str, list[str]] = {}
    for identifier in gathered.records:
        found.setdefault(root(identifier), []).append(identifier)
    return list(found.values())


def _pack(groups: list[list[str]], limit: int) -> Iterator[list[str]]:
    """Give lists of at most so many ids, whole groups together where they fit."""
    current: list[str] = []
    for group in groups:
        if current and len(current) + len(group) > limit:
            yield current
            current = []
        while len(group) > limit:
            yield group[:limit]
            group = group[limit:]
        current = current + group
    if current:
        yield current


class _Packer:
    """Makes messages of packed records, and knows afterwards which ties fell between two messages."""

    def __init__(self, gathered: Gathered, handling: Handling) -> None:
        self.gathered, self.handling = gathered, handling
        self.refs_of: dict[str, list[Any]] = {}
        for ref in gathered.refs:
            self.refs_of.setdefault(ref.owner, []).append(ref)
        self.links_of: dict[str, list[Found]] = {}
        for found in gathered.relationships:
            self.links_of.setdefault(found.record.from_ref, []).append(found)
        self.message_of: dict[str, int] = {}
        self.count = 0

    def message(self, message_type: Any, packed: list[str]) -> Any:
        """Return one message with these records and what ties them."""
        self.count += 1
        message = message_type(handling=self.handling)
        if message_type is not SpontaneousInformation:
            message.handling.domain = Domain.DOMAIN_MONEY_LAUNDERING
        records = self.gathered.records
        inside = set(packed)
        for identifier in packed:
            self.message_of[identifier] = self.count
            record = records[identifier].record
            for ref in self.refs_of.get(identifier, ()):
                if ref.names in inside:
                    self.set_ref(record, ref.field, records[ref.names].record.local_id)
            getattr(message, _FIELDS[record.DESCRIPTOR.name]).append(record)
        local_ids = {self.gathered.local_ids[identifier] for identifier in packed}
        for identifier in packed:
            for found in self.links_of.get(self.gathered.local_ids[identifier], ()):
                if found.record.to_ref in local_ids:
                    message.relationships.append(found.record)
        del message.relationships[_RELATIONSHIPS_MAX:]
        self.describe(message, packed)
        return message

    def set_ref(self, record: Any, field: str, local_id: str) -> None:
        """Set a reference of a record."""
        if field == "officer_refs":
            if len(record.officer_refs) < _OFFICERS_MAX:
                record.officer_refs.append(local_id)
        elif field == "parties":
            record.parties.add(party_ref=local_id)
        else:
            setattr(record, field, local_id)

    def describe(self, message: Any, packed: list[str]) -> None:
        """Say what the message is, and note what only a person can add."""
        counts = {name: len(getattr(message, name)) for name in _FIELDS.values() if hasattr(message, name)}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        message.subject = f"FollowTheMoney file: {said}"
        number = f"ftm-{hashlib.sha256(' '.join(packed).encode()).hexdigest()[:24]}"
        place = f"message {self.count}"
        if message.DESCRIPTOR.name == "TransactionSet":
            message.set_id = number
            return
        self.gathered.reading.note(place, "why_relevant", "a file cannot say it: fill it in before sending")
        if message.DESCRIPTOR.name == "SpontaneousInformation":
            message.information = f"Records of a FollowTheMoney file: {said}."
            return
        message.disclosure_id = number
        subjects = [self.gathered.local_ids[one] for one in packed]
        message.subject_refs.extend(subjects[:_SUBJECTS_MAX])
        self.gathered.reading.note(place, "consent", "a file cannot say it: fill it in before sending")

    def note_lost(self) -> None:
        """Note every tie between records of different messages."""
        note, where = self.gathered.reading.note, self.message_of
        for ref in self.gathered.refs:
            if where.get(ref.owner) != where.get(ref.names):
                place = self.gathered.records[ref.owner].entity.place
                note(place, ref.field, "it names a record of another message: left out")
        names = {local_id: identifier for identifier, local_id in self.gathered.local_ids.items()}
        for found in self.gathered.relationships:
            if where.get(names[found.record.from_ref]) != where.get(names[found.record.to_ref]):
                note(found.entity.place, "schema", "it links records of different messages: left out")
