"""Tags: handling marks and gradings as tags of an event, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from infoexchange.catalogue import Code, Handling, InfoCredibility, SourceReliability, codes, labels, marks
from infoexchange.errors import Reason, error

# MISP keeps the name of a tag in this many characters.
LENGTH_MAX = 255
# Marks that no taxonomy of MISP has.
_MARK = 'infoexchange:mark="'
_END = '"'
_TLP = "tlp:"
_PAP = "pap:"
# Taxonomies of conditions that have no mark of ours: kept in words, so that nobody's condition is dropped.
_CONDITIONS = (
    "tlp:", "pap:", "iep:", "iep2-policy:", "retention:", "gdpr:", "dni-ism:", "nato:", "fr-classif:", "de-vs:",
    "data-classification:", "ics:traffic", "sharing:", "permissible-actions",
)  # fmt: skip
_EXERCISE = "exercise:"
_ADMIRALTY = re.compile(r'admiralty-scale:(source-reliability|information-credibility)="([a-g]|[1-6])"')
_RSIT = re.compile(r'rsit:([a-z-]+)="([a-z0-9-]+)"')
_TECHNIQUE = re.compile(r'misp-galaxy:mitre-attack-pattern="[^"]{0,200}\b(T[0-9]{4}(?:\.[0-9]{3})?)"')
_KNOWN_TLP = {label.lower(): label for label in marks.TLP_LABELS.values()} | {"tlp:white": "TLP:CLEAR"}
_KNOWN_PAP = {"pap:clear", "pap:white", "pap:green", "pap:amber", "pap:red"}
LIST = "rsit"


def from_handling(handling: Handling, *, allow_red: bool) -> list[str]:
    """Return the tags of a message's marks and gradings, TLP first.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be a tag.
    """
    found = [from_label(label) for label in labels.to_labels(handling, allow_red=allow_red)]
    letter, figure = handling.source_reliability, handling.info_credibility
    if SourceReliability.SOURCE_RELIABILITY_ADMIRALTY_A <= letter <= SourceReliability.SOURCE_RELIABILITY_ADMIRALTY_G:
        found.append(f'admiralty-scale:source-reliability="{" abcdefg"[letter]}"')
    if InfoCredibility.INFO_CREDIBILITY_ADMIRALTY_1 <= figure <= InfoCredibility.INFO_CREDIBILITY_ADMIRALTY_6:
        found.append(f'admiralty-scale:information-credibility="{figure}"')
    return found


def from_label(label: str) -> str:
    """Return the tag that carries a label.

    Raises:
        RefusedError: `MARK_LOST` where it is too long for a tag, or has a line break or blanks at its ends.
    """
    if label.lower() in _KNOWN_TLP:
        return label.lower()
    if label.lower() in _KNOWN_PAP:
        return label
    tag = f"{_MARK}{label}{_END}"
    if len(tag) > LENGTH_MAX or not label.isprintable() or label != label.strip():
        detail = f"the text of a restriction cannot be a tag: at most {LENGTH_MAX} printable characters"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    return tag


def to_label(tag: str) -> str | None:
    """Return the label that a tag carries; None for a tag that is no mark."""
    small = tag.strip().lower()
    if small in _KNOWN_TLP:
        return _KNOWN_TLP[small]
    if small in _KNOWN_PAP:
        return "PAP:CLEAR" if small == "pap:white" else small.upper()
    if tag.startswith(_MARK) and tag.endswith(_END) and len(tag) > len(_MARK):
        return tag[len(_MARK) : -len(_END)]
    if small.startswith(_EXERCISE):
        # Whatever is tagged as part of an exercise must never look real.
        return "OP_STATUS:EXERCISE"
    return tag.strip() if small.startswith(_CONDITIONS) else None


def is_tlp(label: str) -> bool:
    """Tell whether a label is one of TLP."""
    return label in marks.TLP_LABELS.values()


def tlp_of(label: str) -> int:
    """Return the number of a TLP label."""
    return next(number for number, known in marks.TLP_LABELS.items() if known == label)


def take_grading(handling: Any, tag: str) -> bool:
    """Take a grading into the marks where they have none on that side; False where the tag is none or is not taken."""
    found = _ADMIRALTY.fullmatch(tag)
    if not found:
        return False
    on_letters = found[1] == "source-reliability"
    field = "source_reliability" if on_letters else "info_credibility"
    # The two scales cannot be mixed, and a value must be one of its own side.
    if on_letters != found[2].isalpha() or max(handling.source_reliability, handling.info_credibility) > 10:
        return False
    number = " abcdefg".index(found[2]) if on_letters else int(found[2])
    if getattr(handling, field) not in {0, number}:
        return False
    setattr(handling, field, number)
    return True


def incident_type(tags: Iterable[str]) -> Code | None:
    """Return the kind of incident that the first tag of the taxonomy rsit names, where the packaged list has it."""
    known = codes.load(LIST)
    for tag in tags:
        found = _RSIT.fullmatch(tag)
        if found and known.find(f"{found[1]}:{found[2]}") is not None:
            return Code(system=LIST, version=known.version, value=f"{found[1]}:{found[2]}")
    return None


def from_incident_type(code: Code) -> str:
    """Return the tag of a kind of incident, nothing where the list or its version is another one."""
    known = codes.load(LIST)
    predicate, _, value = code.value.partition(":")
    tag = f'rsit:{predicate}="{value}"'
    is_read_back = (code.system, code.version) == (LIST, known.version) and incident_type([tag]) == code
    return tag if is_read_back else ""


def technique(tag: str) -> str:
    """Return the number of the technique of MITRE ATT&CK that a tag of a galaxy names, or nothing."""
    found = _TECHNIQUE.fullmatch(tag)
    return found[1] if found else ""


def label_of(tlp: int) -> str:
    """Return the label of a TLP number."""
    return marks.TLP_LABELS[tlp]


def taxonomy_of(tag: str) -> str:
    """Return what a note says of a tag that is not carried: its taxonomy, for its name may be an alleged actor's."""
    name, colon, _ = tag.partition(":")
    return f"a tag of {name[:40]} is not carried" if colon else "a tag of no taxonomy is not carried"
