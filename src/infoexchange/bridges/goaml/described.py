"""Described: accounts, people and organisations as goAML describes them, wherever a transaction names them."""

from __future__ import annotations

from typing import Any

from infoexchange.bridges.goaml import words
from infoexchange.catalogue import NameKind, values
from infoexchange.errors import Reason, error
from infoexchange.markup import Element

_MORE_LINES = ("additional_address_line1", "additional_address_line2")
_NATIONALITIES_MAX = 3
# Every transaction repeats who took part; a report beyond this could not be read back.
_PARTIES_MAX = 20_000
_MAIN = frozenset({NameKind.NAME_KIND_PRIMARY, NameKind.NAME_KIND_UNSPECIFIED})
_OTHER_NAMES = (("alias", NameKind.NAME_KIND_ALIAS), ("full_name_frn", NameKind.NAME_KIND_ORIGINAL_SCRIPT))


class Described:
    """The records of one message, by local id, ready to be written where they are named."""

    def __init__(self, message: Any) -> None:
        """Take the records that a transaction may name."""
        self.count = 0
        self.records = {
            record.local_id: record
            for field in ("accounts", "wallets", "persons", "organisations")
            for record in getattr(message, field)
        }
        self.ties: dict[tuple[str, str], list[Any]] = {}
        for record in message.relationships:
            if record.from_ref in self.records:
                self.ties.setdefault((record.type, record.to_ref), []).append(self.records[record.from_ref])

    def tied(self, word: str, local_id: str) -> list[Any]:
        """Return the people that a relationship ties to a record."""
        return [record for record in self.ties.get((word, local_id), ()) if record.DESCRIPTOR.name == "Person"]

    def add(self, parent: Element, prefix: str, reference: str, path: str) -> None:
        """Add who or what a transaction names."""
        record = self.records.get(reference)
        if record is None:
            detail = "no account, wallet, person or organisation of this message has this local_id"
            raise error(Reason.RULE_BROKEN, field=path, detail=detail)
        kind = record.DESCRIPTOR.name
        if kind == "Person":
            self.person(parent, f"{prefix}person", record)
        elif kind == "Organisation":
            self.entity(parent, f"{prefix}entity", record)
        elif kind == "CryptoAddress":
            self.wallet(parent, f"{prefix}account", record)
        else:
            self.account(parent, f"{prefix}account", record)

    def begun(self, parent: Element, name: str) -> Element:
        """Begin an account, person or organisation, as long as there are not too many."""
        self.count += 1
        if self.count > _PARTIES_MAX:
            step = "Divide the transactions between several messages."
            detail = f"the report would name more than {_PARTIES_MAX} accounts, people and organisations"
            raise error(Reason.TOO_LARGE, field="transactions", detail=detail, next_step=step)
        return parent.add(name)

    def account(self, parent: Element, name: str, record: Any) -> None:
        """Add an account, who holds it and who may sign for it."""
        made = self.begun(parent, name)
        made.put("institution_name", record.institution_name)
        if record.institution_code or not record.bic:
            made.add("institution_code", record.institution_code or words.UNKNOWN)
        else:
            made.add("swift", record.bic)
        made.put("institution_country", record.country)
        made.add("account", record.account_no or record.iban)
        made.put("currency_code", record.currency)
        made.add("account_name", record.holder_name or words.UNKNOWN)
        made.put("iban", record.iban)
        self.holders(made, record, self.tied(words.SIGNATORY, record.local_id))
        made.put("opened", _day(record.opened))
        made.put("closed", _day(record.closed))
        if record.HasField("balance"):
            made.add("balance", values.number_text(record.balance.amount))
            made.put("date_balance", _day(record.balance.as_of))
        made.put("status_code", record.status.value)

    def holders(self, made: Element, record: Any, signers: list[Any]) -> None:
        """Add the holder, an entity or the primary signatory, and others who may sign."""
        holder = self.records.get(record.holder_ref)
        if holder is not None and holder.DESCRIPTOR.name == "Organisation":
            self.entity(made, "t_entity", holder)
        elif holder is not None and holder.DESCRIPTOR.name == "Person":
            signatory = made.add("signatory")
            signatory.add("is_primary", "1")
            self.person(signatory, "t_person", holder)
        for signer in signers:
            self.person(made.add("signatory"), "t_person", signer)

    def wallet(self, parent: Element, name: str, record: Any) -> None:
        """Add an address on a chain as an account, which is all that most versions have for it."""
        made = self.begun(parent, name)
        made.put("institution_name", record.service_provider)
        made.add("institution_code", words.UNKNOWN)
        made.add("non_bank_institution", "true")
        made.add("account", record.address)
        made.add("account_name", words.UNKNOWN)
        self.holders(made, record, [])
        made.add("comments", f"address on a chain: {record.chain.value}")

    def entity(self, parent: Element, name: str, record: Any) -> None:
        """Add an organisation and its directors."""
        made = self.begun(parent, name)
        made.add("name", record.name)
        made.put("incorporation_legal_form", record.kind)
        made.put("incorporation_number", record.registration_number)
        self.addresses(made, record)
        made.put("incorporation_country_code", record.country)
        for reference in record.officer_refs:
            officer = self.records.get(reference)
            if officer is not None and officer.DESCRIPTOR.name == "Person":
                self.person(made, "director_id", officer)

    def person(self, parent: Element, name: str, record: Any) -> None:
        """Add a person; one without a name here by pseudonym, and the title says that it is one."""
        made = self.begun(parent, name)
        made.add("gender", words.SEX_CODES.get(record.sex, words.UNKNOWN))
        names = [
            one for one in record.names if one.kind in {NameKind.NAME_KIND_PRIMARY, NameKind.NAME_KIND_UNSPECIFIED}
        ]
        first = names[0] if names else None
        if first is None and record.pseudonym:
            made.add("title", words.PSEUDONYM)
        given = list(first.given) if first else []
        last = " ".join(first.family) if first else record.pseudonym
        if first is not None and not (given and last):
            given, last = [], first.full or " ".join((*given, first.patronymic, *first.family)).strip()
        made.add("first_name", " ".join(given[:1]) or words.UNKNOWN)
        made.put("middle_name", " ".join(given[1:]))
        made.add("last_name", last or words.UNKNOWN)
        made.put("birthdate", _day(record.birth))
        made.put("birth_place", record.birth_place.stated_text)
        made.put("mothers_name", first.mother if first else "")
        for element, kind in (
            ("alias", NameKind.NAME_KIND_ALIAS),
            ("full_name_frn", NameKind.NAME_KIND_ORIGINAL_SCRIPT),
        ):
            made.put(element, next((one.full for one in record.names if one.kind == kind), ""))
        former = [one.full for one in record.names if one.kind == NameKind.NAME_KIND_FORMER and one.full]
        if former:
            previous = made.add("previous_names")
            for text in former:
                one = previous.add("previous_name")
                one.add("first_name", words.UNKNOWN)
                one.add("last_name", text)
        for index, code in enumerate(record.nationalities[:_NATIONALITIES_MAX], 1):
            made.add(f"nationality{index}", code)
        if record.phones:
            phones = made.add("phones")
            for phone in record.phones:
                one = phones.add("phone")
                one.add("tph_contact_type", words.UNKNOWN)
                one.add("tph_communication_type", words.UNKNOWN)
                one.add("tph_number", phone.e164)
        self.addresses(made, record)
        self.documents(made, record)
        if record.deceased:
            made.add("deceased", "1")

    def documents(self, made: Element, record: Any) -> None:
        """Add the documents of a person."""
        for document in record.documents:
            one = made.add("identification")
            one.add("type", words.DOCUMENT_CODES.get(document.type) or document.type_text or words.UNKNOWN)
            one.add("number", document.number)
            one.put("issue_date", _day(document.issued))
            one.put("expiry_date", _day(document.expires))
            one.add("issue_country", values.alpha2(document.issuing_state) or words.UNKNOWN)

    def addresses(self, made: Element, record: Any) -> None:
        """Add the addresses of a person or an organisation."""
        if not record.addresses:
            return
        addresses = made.add("addresses")
        for address in record.addresses:
            one = addresses.add("address")
            one.add("address_type", words.UNKNOWN)
            one.add("address", address.lines[0] if address.lines else words.UNKNOWN)
            for name, line in zip(_MORE_LINES, address.lines[1:3], strict=False):
                one.put(name, line)
            one.add("city", address.locality or words.UNKNOWN)
            one.put("zip", address.postal_code)
            one.add("country_code", address.country or words.UNKNOWN)


def _day(value: Any) -> str:
    """Return a date that is known to the day, as goAML writes it; nothing for any other."""
    return f"{values.date_text(value)}T00:00:00" if value.day and values.date_text(value) else ""
