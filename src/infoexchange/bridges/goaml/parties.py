"""Parties: accounts, people and entities of a goAML report as records, each kept once."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.goaml import words
from infoexchange.catalogue import (
    Address,
    DocumentType,
    FinancialAccount,
    IdentityDocument,
    NameKind,
    Organisation,
    Person,
    PersonRole,
    Sex,
    values,
)
from infoexchange.markup import Element

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_NUMBER_MAX = 60
_PREFIXES = {"persons": "person", "organisations": "organisation", "accounts": "account"}


class Parties:
    """Takes parties into a message: one that is said again word for word is the same."""

    def __init__(self, message: Any, reading: Reading, now: datetime) -> None:
        """Begin with a message that has none; `currency` is that of balances whose account does not say one."""
        self.message, self.reading, self.now = message, reading, now
        self.currency = ""
        self.kept: dict[tuple[str, bytes], str] = {}

    def keep(self, field: str, record: Any) -> str:
        """Return the local id of a record, which is added if it is new."""
        key = (field, record.SerializeToString(deterministic=True))
        if key not in self.kept:
            records = getattr(self.message, field)
            self.kept[key] = record.local_id = f"{_PREFIXES[field]}-{len(records) + 1}"
            records.append(record)
        return self.kept[key]

    def tie(self, source: str, word: str, target: str) -> None:
        """Add a relationship, once."""
        key = (word, f"{source} {target}".encode())
        if key not in self.kept:
            number = len(self.message.relationships) + 1
            self.kept[key] = f"relation-{number}"
            self.message.relationships.add(local_id=f"relation-{number}", from_ref=source, to_ref=target, type=word)

    def of(self, element: Element, *names: str) -> str:
        """Return the local id of the account, person or entity that stands in an element, or nothing."""
        for name, take in zip(names, (self.account, self.person, self.entity), strict=True):
            for suffix in ("", "_my_client"):
                found = element.one(name + suffix)
                if found is not None:
                    return take(found)
        return ""

    def account(self, element: Element) -> str:
        """Take an account, whoever holds it, and who may sign for it."""
        account = FinancialAccount(institution_name=words.known(element.value("institution_name"))[:300])
        account.institution_code = words.known(element.value("institution_code"))[:40]
        account.bic = self.shaped(element, "swift", _BIC)
        account.country = self.country(element, "institution_country")
        account.iban = self.shaped(element, "iban", _IBAN)
        number = element.value("account")
        account.account_no = number[:64] if number != account.iban else ""
        account.currency = self.currency_of(element, "currency_code")
        account.holder_name = words.known(element.value("account_name"))[:500]
        for field in ("opened", "closed"):
            self.set_date(getattr(account, field), element, field)
        amount = values.decimal(element.value("balance"))
        if amount is not None:
            account.balance.amount.CopyFrom(amount)
            account.balance.currency = account.currency or self.currency
            self.set_date(account.balance.as_of, element, "date_balance")
        elif element.value("balance"):
            self.note(element, "balance", "not a number")
        self.set_code(account.status, "goaml-account-status", element, "status_code")
        holder = element.one("t_entity")
        account.holder_ref = self.entity(holder) if holder is not None else ""
        signers = []
        related = element.one("related_persons")
        people = related.all("account_related_person") if related is not None else []
        for signatory in (*element.all("signatory"), *people):
            person = signatory.one("t_person")
            if person is None:
                self.note(signatory, "t_person", "nobody is named: left out")
            elif signatory.value("is_primary") in {"1", "true"} and not account.holder_ref:
                account.holder_ref = self.person(person)
            else:
                signers.append(self.person(person))
        account_id = self.keep("accounts", account)
        for signer in signers:
            self.tie(signer, words.SIGNATORY, account_id)
        return account_id

    def entity(self, element: Element) -> str:
        """Take an organisation and its directors."""
        made = Organisation(name=words.known(element.value("name"))[:500])
        made.kind = words.known(element.value("incorporation_legal_form"))[:100]
        made.registration_number = words.known(element.value("incorporation_number"))[:100]
        made.country = self.country(element, "incorporation_country_code")
        self.set_addresses(made, element)
        related = element.one("related_persons")
        people = related.all("entity_related_person") if related is not None else []
        directors = [*element.all("director_id"), *(found for one in people for found in one.all("t_person"))]
        made.officer_refs.extend(dict.fromkeys(map(self.person, directors)))
        return self.keep("organisations", made)

    def person(self, element: Element) -> str:
        """Take a person. Who they are to the matter a report does not say."""
        made = Person(role=PersonRole.PERSON_ROLE_OTHER, role_text=words.ROLE)
        self.set_names(made, element)
        self.set_date(made.birth, element, "birthdate")
        made.is_minor = values.minor(made.birth, self.now)
        gender = words.known(element.value("gender"))
        made.sex = words.SEXES.get(gender, Sex.SEX_UNSPECIFIED)
        if gender and not made.sex:
            self.note(element, "gender", "another code than M and F")
        place = element.value("birth_place")
        if place:
            made.birth_place.stated_text = place[:500]
        for name in ("nationality1", "nationality2", "nationality3"):
            code = self.country(element, name)
            if code and code not in made.nationalities:
                made.nationalities.append(code)
        self.set_documents(made, element)
        self.set_addresses(made, element)
        phones = element.one("phones")
        for phone in phones.all("phone") if phones is not None else ():
            self.set_phone(made, phone)
        if element.value("deceased") in {"1", "true"}:
            made.deceased = True
        return self.keep("persons", made)

    def set_names(self, made: Person, element: Element) -> None:
        """Set the names, or the pseudonym of a person who has none here."""
        given = [words.known(element.value(name))[:200] for name in ("first_name", "middle_name")]
        given = [name for name in given if name]
        last = " ".join([words.known(element.value(name)) for name in ("prefix", "last_name")]).strip()
        title = element.value("title")
        if title == words.PSEUDONYM:
            made.pseudonym = last[:100]
        elif last or given:
            first = made.names.add(
                kind=NameKind.NAME_KIND_PRIMARY, given=given, mother=element.value("mothers_name")[:200]
            )
            if given and last:
                first.family.append(last[:200])
            elif last:
                first.full = last[:500]
        if title and title != words.PSEUDONYM:
            self.note(element, "title", "not carried")
        for name, kind in (("alias", NameKind.NAME_KIND_ALIAS), ("full_name_frn", NameKind.NAME_KIND_ORIGINAL_SCRIPT)):
            if element.value(name):
                made.names.add(full=element.value(name)[:500], kind=kind)
        previous = element.one("previous_names")
        for one in previous.all("previous_name") if previous is not None else ():
            text = f"{words.known(one.value('first_name'))} {one.value('last_name')}".strip()
            if text:
                made.names.add(full=text[:500], kind=NameKind.NAME_KIND_FORMER)

    def set_documents(self, made: Person, element: Element) -> None:
        """Set the documents; one without the state that issued it is noted."""
        passport = element.value("passport_number")
        found = [("PASSPORT", passport, element.value("passport_country"), element)] if passport else []
        listed = element.one("identifications")
        for one in (*element.all("identification"), *(listed.all("identification") if listed is not None else ())):
            found.append((one.value("type"), one.value("number"), one.value("issue_country"), one))
        for kind, number, country, one in found:
            state = values.alpha3(country)
            if not 0 < len(number) <= _NUMBER_MAX or not state:
                self.note(one, "identification", "a document needs a number and a state that issued it: left out")
                continue
            document = IdentityDocument(number=number, issuing_state=state)
            document.type = words.DOCUMENTS.get(kind, DocumentType.DOCUMENT_TYPE_OTHER)
            document.type_text = "" if kind in words.DOCUMENTS else (kind or "not said")[:200]
            for field, name in (("issued", "issue_date"), ("expires", "expiry_date")) if one is not element else ():
                self.set_date(getattr(document, field), one, name)
            made.documents.append(document)

    def set_phone(self, made: Person, phone: Element) -> None:
        """Set a telephone whose number is, or can be made, international without guessing."""
        prefix, number = phone.value("tph_country_prefix").lstrip("+"), re.sub("[ ()-]", "", phone.value("tph_number"))
        if not number.startswith("+") and prefix and not number.startswith("0"):
            number = f"+{prefix}{number}"
        _set_aside(phone, "tph_contact_type", "tph_communication_type")
        if _E164.fullmatch(number):
            made.phones.add(e164=number)
        elif number:
            self.note(phone, "tph_number", "not in international form")

    def set_addresses(self, made: Any, element: Element) -> None:
        """Set the addresses."""
        found = element.one("addresses")
        for one in found.all("address") if found is not None else ():
            names = ("address", "additional_address_line1", "additional_address_line2")
            lines = [words.known(one.value(name))[:200] for name in names]
            address = Address(lines=[line for line in lines if line])
            address.locality = words.known(one.value("city"))[:200]
            address.postal_code = one.value("zip")[:20]
            address.country = self.country(one, "country_code")
            _set_aside(one, "address_type")
            made.addresses.append(address)

    def note(self, element: Element, name: str, detail: str) -> None:
        """Note what is not carried."""
        self.reading.note(element.place, name, detail)

    def shaped(self, element: Element, name: str, shape: re.Pattern[str]) -> str:
        """Return a value that has a shape; another is noted."""
        text = words.known(element.value(name))
        if text and not shape.fullmatch(text):
            self.note(element, name, "a value of another form")
            return ""
        return text

    def currency_of(self, element: Element, name: str) -> str:
        """Return a currency; units have codes for coins on chains and for gold, which ISO 4217 does not: noted."""
        text = words.known(element.value(name))
        if text and not values.currency(text):
            self.note(element, name, "no currency of ISO 4217")
        return values.currency(text)

    def country(self, element: Element, name: str) -> str:
        """Return a country; a code that ISO 3166-1 does not have is noted."""
        text = words.known(element.value(name))
        code = values.country(text) if text else ""
        if text and not code:
            self.note(element, name, "no code of ISO 3166-1")
        return code

    def set_date(self, target: Any, element: Element, name: str) -> None:
        """Set a date, if it is there."""
        text = element.value(name)
        value = values.partial_date(text)
        if value is not None:
            target.CopyFrom(value)
        elif text:
            self.note(element, name, "not a date")

    def set_code(self, target: Any, system: str, element: Element, name: str) -> None:
        """Set a code; one that is not in the packaged list is kept and noted."""
        text = words.known(element.value(name))
        if text and not values.set_code(target, system, text[:200]) and values.is_packaged(system):
            self.note(element, name, f"not in the list {system}: kept as it stands")


def _set_aside(element: Element, *names: str) -> None:
    """Take what says how an address or number is used, which no field of ours does."""
    for name in names:
        element.value(name)
