"""goAML: a report of transactions, the XML that financial intelligence units take, as TransactionSet; and back.

Written too: the transactions of a FiuResponse, as an extract. Every unit has code lists and a schema of its own. The
lists are the files `goaml-*.csv` of the catalogue, which an operator replaces; a code that is not in them is kept and
says so. What is written is checked against the unit's own schema by whoever loads it there.

The marks stand in square brackets before the report's reason and before the comments of each transaction.
"""

from __future__ import annotations

from infoexchange.bridges.goaml.reading import read
from infoexchange.bridges.goaml.writing import write

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the file.",
    "Both ways: white space at the ends of texts and between the words of names and codes.",
    "Both ways: fractions of a second, and how finely a time is known beside day and second.",
    "Written: rentity_id, which a message does not know: whoever loads the file adds it.",
    "Written: subject, set_id beside report_ref, period, notes on attachments; lists and versions of codes.",
    "Written: records that no transaction names, and relationships other than conducts and signatory-of.",
    "Written: role, is_minor, description, status_basis, and whatever else goAML's person has no element for.",
    "Written: a wallet becomes an account; an account with institution_code leaves its bic behind.",
    "Written, of a FiuResponse: results, consent and references; it comes back as a TransactionSet.",
    "Read: local ids are numbered anew; whether somebody is a minor is computed from the date of birth.",
    "Read: a local time stays text, because the file does not say which zone it is in.",
    "Read: who reported, activity reports, goods, vehicles, and every other element (each is noted).",
)

__all__ = ["LOSSES", "read", "write"]
