"""What the goAML bridge writes, against the order of elements in the public schema, and the page that describes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infoexchange import markup
from infoexchange.bridges.goaml import words
from infoexchange.catalogue import examples
from test_bridges import NOW
from test_goaml import EXAMPLE, GOAML, one

# The order of elements in the schema 5.0.2, as far as we write them; an element that is not here is not written.
ORDER = {
    "report": "submission_code report_code entity_reference fiu_ref_number report_date currency_code_local reason"
    " transaction report_indicators",
    "transaction": "transactionnumber transaction_location transaction_description date_transaction late_deposit"
    " transmode_code amount_local involved_parties t_from t_to comments",
    "t_from": "from_funds_code from_foreign_currency t_conductor from_account from_person from_entity from_country",
    "t_to": "to_funds_code to_account to_person to_entity to_country",
    "party": "role person account entity funds_code foreign_currency country",
    "account": "institution_name institution_code swift institution_country non_bank_institution account currency_code"
    " account_name iban t_entity signatory opened closed balance date_balance status_code comments",
    "entity": "name incorporation_legal_form incorporation_number addresses incorporation_country_code director_id",
    "person": "gender title first_name middle_name last_name birthdate birth_place mothers_name alias full_name_frn"
    " previous_names nationality1 nationality2 nationality3 phones addresses identification deceased",
    "address": "address_type address additional_address_line1 additional_address_line2 city zip country_code",
    "foreign_currency": "foreign_currency_code foreign_amount foreign_exchange_rate",
    "signatory": "is_primary t_person",
    "identification": "type number issue_date expiry_date issue_country",
    "phone": "tph_contact_type tph_communication_type tph_number",
    "previous_name": "first_name last_name",
    "involved_parties": "party",
    "report_indicators": "indicator",
    "addresses": "address",
    "phones": "phone",
    "previous_names": "previous_name",
}
KINDS = {"t_conductor": "person", "director_id": "person", "t_person": "person", "t_entity": "entity"}


def kind_of(name):
    plain = name.removeprefix("from_").removeprefix("to_")
    return KINDS.get(name, plain if plain in ORDER else name)


@pytest.mark.parametrize("name", ["TransactionSet", "FiuResponse", "a report"])
def test_elements_stand_in_the_order_of_the_schema(name):
    message = one(EXAMPLE) if name == "a report" else examples.message(name)
    seen = 0
    waiting = [markup.parse(GOAML.write([message], now=NOW))]
    while waiting:
        element = waiting.pop()
        if element.children:
            order = ORDER[kind_of(element.name)].split()
            places = [order.index(child.name) for child in element.children]
            assert places == sorted(places), element.name
            seen += len(places)
            waiting += element.children
    assert seen > 30


def test_the_page_says_what_the_code_does():
    page = (Path(__file__).parent.parent / "docs" / "bridges" / "goaml.md").read_text("utf-8")
    assert [line[2:] for line in page.partition("## What is lost")[2].splitlines() if line] == list(GOAML.losses)
    named = set(re.findall(r"`([A-Za-z_0-9-]+)`", page))
    assert {words.CONDUCTS, words.SIGNATORY, words.PSEUDONYM, words.UNKNOWN} <= named
    assert {name for kind in ("transaction", "t_from", "party") for name in ORDER[kind].split()} <= named
