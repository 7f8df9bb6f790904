"""Holdings: Vessel, FinancialAccount, CryptoAddress and Payment, as FollowTheMoney writes them and back."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from infoexchange.bridges.ftm import words
from infoexchange.bridges.ftm.entities import Entity
from infoexchange.bridges.ftm.parties import Note, countries
from infoexchange.catalogue import CryptoAddress, FinancialAccount, IdentityGap, TransactionRecord, Vessel, values

_IMO = re.compile(r"(?:IMO ?)?([0-9]{7})")
_MMSI = re.compile(r"[0-9]{9}")
_CALL_SIGN = re.compile(r"[A-Z0-9]{3,8}")
_TONNES = re.compile(r"([0-9]{1,7})(?:\.0*)?")
_TONNES_MAX = 1_000_000
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_WALLET = re.compile(r"[A-Za-z0-9:_-]{1,200}")
# What our type has to say of a payment and FollowTheMoney does not: how it was made.
MODE_SYSTEM, MODE_VERSION, MODE_VALUE = "followthemoney", "4", "Payment"


def from_vessel(vessel: Vessel) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a ship."""
    names = [vessel.name or vessel.callsign or vessel.imo or vessel.mmsi or vessel.local_id or "not named"]
    return "Vessel", {
        "name": names,
        "imoNumber": [f"IMO{vessel.imo}" if vessel.imo else ""],
        "mmsi": [vessel.mmsi],
        "callSign": [vessel.callsign],
        "flag": [vessel.flag.lower()],
        "type": [vessel.type],
        "grossRegisteredTonnage": [str(vessel.gross_tonnage) if vessel.HasField("gross_tonnage") else ""],
        "previousName": list(vessel.past_names),
        "pastFlags": [flag.lower() for flag in vessel.past_flags],
    }


def to_vessel(entity: Entity, note: Note, _: datetime) -> Vessel:
    """Return a ship."""
    vessel = Vessel(name=entity.first("name")[:200])
    vessel.imo = _shaped(entity, "imoNumber", _IMO, note)
    vessel.mmsi = _shaped(entity, "mmsi", _MMSI, note)
    vessel.callsign = _shaped(entity, "callSign", _CALL_SIGN, note)
    vessel.flag = next(iter(countries(entity, note, "flag")), "")
    vessel.type = entity.first("type")[:100]
    tonnes = _shaped(entity, "grossRegisteredTonnage", _TONNES, note)
    if tonnes and int(tonnes) <= _TONNES_MAX:
        vessel.gross_tonnage = int(tonnes)
    vessel.past_names.extend(text[:200] for text in entity.take("previousName", "alias")[:50])
    vessel.past_flags.extend(countries(entity, note, "pastFlags")[:50])
    if not (vessel.name or vessel.imo or vessel.mmsi or vessel.callsign):
        vessel.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED
    return vessel


def from_account(account: FinancialAccount) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of an account."""
    return "BankAccount", {
        "name": [account.iban or account.account_no],
        "accountNumber": [account.account_no],
        "iban": [account.iban],
        "bic": [account.bic],
        "bankName": [account.institution_name],
        "currency": [account.currency],
        "country": [account.country.lower()],
        "openingDate": [values.date_text(account.opened)],
        "closingDate": [values.date_text(account.closed)],
        "balance": [values.number_text(account.balance.amount) if account.HasField("balance") else ""],
        "balanceDate": [values.date_text(account.balance.as_of)],
    }


def to_account(entity: Entity, note: Note, _: datetime) -> FinancialAccount:
    """Return an account."""
    account = FinancialAccount(account_no=entity.first("accountNumber")[:64])
    account.iban = _shaped(entity, "iban", _IBAN, note)
    account.bic = _shaped(entity, "bic", _BIC, note)
    account.institution_name = entity.first("bankName")[:300]
    account.currency = _currency(entity, note)
    account.country = next(iter(countries(entity, note, "country")), "")
    for field, name in (("opened", "openingDate"), ("closed", "closingDate")):
        _set_date(getattr(account, field), entity, name, note)
    balance = entity.first("balance")
    amount = values.decimal(balance)
    if amount is not None and account.currency:
        account.balance.amount.CopyFrom(amount)
        account.balance.currency = account.currency
        _set_date(account.balance.as_of, entity, "balanceDate", note)
    elif balance:
        note("balance", "not a number, or without a currency")
    if entity.first("name") not in {account.account_no, account.iban, ""}:
        note("name", "an account has no name of its own")
    return account


def from_wallet(wallet: CryptoAddress) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of an address on a chain."""
    return "CryptoWallet", {
        "publicKey": [wallet.address],
        "blockchain": [wallet.chain.value],
        "managingExchange": [wallet.service_provider],
    }


def to_wallet(entity: Entity, note: Note, _: datetime) -> CryptoAddress:
    """Return an address on a chain; one that the list of chains does not have is OTHER and noted."""
    wallet = CryptoAddress(service_provider=entity.first("managingExchange")[:300])
    addresses = entity.take("publicKey", "cryptoAddress")
    wallet.address = next((text for text in addresses if _WALLET.fullmatch(text)), "")
    if set(addresses) != {wallet.address}:
        note("publicKey", "not the form of an address, or more than one")
    stated = entity.take("blockchain", "currencySymbol", "currency")
    found = next((value for value in map(words.chain, stated) if value), "")
    if not found:
        note("blockchain", "not in the list crypto-chain")
    values.set_code(wallet.chain, "crypto-chain", found or "OTHER")
    return wallet


def from_transaction(record: TransactionRecord) -> tuple[str, dict[str, list[str]]]:
    """Return schema and properties of a payment, without who paid and who received."""
    money = record.foreign.money if record.HasField("foreign") else record.amount_local
    return "Payment", {
        "transactionNumber": [record.number],
        "date": [words.instant_text(record.executed_at)],
        "amount": [values.number_text(money.amount) if money.currency else ""],
        "currency": [money.currency],
        "purpose": [record.description],
    }


def to_transaction(entity: Entity, note: Note, _: datetime) -> TransactionRecord:
    """Return a payment. How it was made FollowTheMoney does not say, so the code says only that."""
    record = TransactionRecord(number=entity.first("transactionNumber", "sequenceNumber", "recordId")[:200])
    record.number = record.number or entity.id[:200]
    text = entity.first("date", "startDate")
    when = words.instant(text)
    if when is not None:
        record.executed_at.CopyFrom(when)
    else:
        note("date", "not a date")
    record.mode.system, record.mode.version, record.mode.value = MODE_SYSTEM, MODE_VERSION, MODE_VALUE
    amount, currency = values.decimal(entity.first("amount")), _currency(entity, note)
    if amount is not None and currency:
        record.amount_local.amount.CopyFrom(amount)
        record.amount_local.currency = currency
    else:
        note("amount", "not a number, or without a currency")
    record.description = "; ".join(entity.take("purpose"))[:4000]
    return record


def _shaped(entity: Entity, name: str, shape: re.Pattern[str], note: Note) -> str:
    """Return the first value of a property that has a shape, its group where it has one; others are noted."""
    texts = entity.take(name)
    found = [match for match in map(shape.fullmatch, texts) if match]
    if len(found) != len(texts) or len(found) > 1:
        note(name, "a value has another form, or there are several")
    return (found[0][1] if shape.groups else found[0][0]) if found else ""


def _currency(entity: Entity, note: Note) -> str:
    """Return the currency; a coin on a chain is none of ISO 4217 and noted."""
    text = entity.first("currency")
    if text and not values.currency(text):
        note("currency", "no currency of ISO 4217")
    return values.currency(text)


def _set_date(target: Any, entity: Entity, name: str, note: Note) -> None:
    """Set a date from a property, if it is there."""
    text = entity.first(name)
    value = values.partial_date(text)
    if value is not None:
        target.CopyFrom(value)
    elif text:
        note(name, "not a date")
