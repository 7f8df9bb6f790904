"""Accounts: both ends of a transfer, each with its bank, as camt.056 names them beside the original transaction."""

from __future__ import annotations

from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.iso20022 import words
from infoexchange.catalogue import FinancialAccount
from infoexchange.markup import Element

_ID_MAX, _NAME_MAX, _HOLDER_MAX = 34, 140, 140
# What may stand in our own elements of an account: what camt has no room for, and nothing a bank has no need to know.
REST = frozenset({"local_id", "country", "account_no", "institution_name", "institution_code", "holder_name"})


def _rest_of(account: Any) -> Any:
    """Return what camt cannot hold of an account."""
    rest = FinancialAccount(local_id=account.local_id, country=account.country)
    limits = {"account_no": _ID_MAX, "institution_name": _NAME_MAX, "institution_code": words.ID_MAX}
    limits["holder_name"] = _HOLDER_MAX
    for name, size in limits.items():
        text = getattr(account, name)
        if len(text) > size or text != " ".join(text.split()):
            setattr(rest, name, text)
    if account.iban and account.account_no:
        rest.account_no = account.account_no
    return rest


def add_ends(transaction: Element, ours: Element, payer: Any, payee: Any) -> None:
    """Add the accounts of both ends and their banks, in the order of the schema."""
    reference = transaction.add("OrgnlTxRef")
    _add_holder(reference, "Dbtr", payer)
    _add_account(reference, "DbtrAcct", payer)
    words.add_bank(reference.add("DbtrAgt"), payer)
    words.add_bank(reference.add("CdtrAgt"), payee)
    _add_holder(reference, "Cdtr", payee)
    _add_account(reference, "CdtrAcct", payee)
    for name, account in (("From", payer), ("To", payee)):
        words.add_rest(ours.add(name), _rest_of(account), REST)


def _add_holder(reference: Element, name: str, account: Any) -> None:
    if account.holder_name:
        reference.add(name).add("Pty").add("Nm", account.holder_name[:_HOLDER_MAX])


def _add_account(reference: Element, name: str, account: Any) -> None:
    found = reference.add(name)
    identification = found.add("Id")
    if account.iban:
        identification.add("IBAN", account.iban)
    else:
        identification.add("Othr").add("Id", account.account_no[:_ID_MAX] or words.NOT_PROVIDED)
    found.put("Ccy", account.currency)


class Accounts:
    """The accounts of one message being read: an account that stands at several transfers becomes one record."""

    def __init__(self, message: Any, reading: Reading) -> None:
        self.message = message
        self.reading = reading

    def read(self, transaction: Element, side: str, banks: list[Element], ours: Element | None) -> str:
        """Return the name of the account at one side of a transfer, or nothing where the file names none.

        Args:
            transaction: The transfer.
            side: `Dbtr` or `Cdtr`.
            banks: Where the bank is named, in order, if not beside the account.
            ours: Our own element on this side of the transfer.
        """
        account = FinancialAccount()
        words.set_rest(account, ours, REST)
        reference = transaction.one("OrgnlTxRef")
        found = reference.one(f"{side}Acct") if reference is not None else None
        if found is not None:
            self._number(account, found)
        holder = reference.value(side, "Pty", "Nm") if reference is not None else ""
        account.holder_name = account.holder_name or ("" if holder == words.NOT_PROVIDED else holder)
        beside = reference.one(f"{side}Agt") if reference is not None else None
        self._bank(account, beside if beside is not None else next(iter(banks), None))
        if beside is None and banks and account.ByteSize():
            self.reading.note(transaction.place, f"{side}Agt", "not said: the bank of the assignment is taken")
        return self._keep(account, transaction, side)

    def _number(self, account: Any, found: Element) -> None:
        account.iban = found.value("Id", "IBAN").upper()
        number = found.value("Id", "Othr", "Id")
        account.account_no = account.account_no or ("" if number == words.NOT_PROVIDED else number)
        account.currency = found.value("Ccy")

    def _bank(self, account: Any, found: Element | None) -> None:
        bank = found.one("FinInstnId") if found is not None else None
        if bank is None:
            return
        account.bic = bank.value("BICFI")
        account.institution_code = account.institution_code or bank.value("ClrSysMmbId", "MmbId")
        name = bank.value("Nm")
        account.institution_name = account.institution_name or ("" if name == words.NOT_PROVIDED else name)

    def _keep(self, account: Any, transaction: Element, side: str) -> str:
        """Return the name of the record that is this account, which is added where it is new."""
        if not account.ByteSize():
            self.reading.note(transaction.place, f"{side}Acct", "no account: add it before sending")
            return ""
        named = account.local_id
        for known in self.message.accounts:
            account.local_id = named or known.local_id
            if account == known:
                return str(known.local_id)
        taken = {known.local_id for known in self.message.accounts}
        account.local_id = named if named and named not in taken else f"account-{len(taken) + 1}"
        if not account.iban and not account.account_no:
            self.reading.note(transaction.place, f"{side}Acct", "no number of the account: add it before sending")
        self.message.accounts.append(account)
        return str(account.local_id)
