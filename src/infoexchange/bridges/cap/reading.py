"""Reading: an alert of CAP as messages, one for each info block, with notes on what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from infoexchange.bridges import Reading
from infoexchange.bridges.cap import areas, words
from infoexchange.catalogue import Alert, Handling, MaritimeAdvisory, labels
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.markup import Element

# What may stand in our own parameter, by the type of the message.
REST: Mapping[Any, frozenset[str]] = {
    Alert: frozenset({"category_text", "areas", "lang", "contact"}),
    MaritimeAdvisory: frozenset(
        {"advisory_id", "areas", "recommended_measures", "incident_ids", "severity", "lang", "contact"}
    ),
}
# The least strict mark that a scope allows: Private names its recipients.
_SCOPES = {"Public": "", "Restricted": "TLP:GREEN", "Private": "TLP:RED"}
_DEFAULT_LANGUAGE = "en-US"  # what CAP says an info block without a language is in
_SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"
_TEXT_MAX, _REFERENCE_MAX = 1000, 200


def messages(root: Element, handling: Handling, reading: Reading) -> list[Any]:
    """Return the messages of an alert.

    Raises:
        MalformedError: `BAD_FIELD` with the line of an element that cannot be read, or for what is no alert here.
        RefusedError: `MARK_LOST` where `handling` is weaker than the marks of the alert.
    """
    marks = _marks(root, handling, reading)
    kind = root.value("msgType")
    if kind not in {"Alert", "Update"}:
        step = "Recall, acknowledge or correct the earlier message with the message type made for it."
        detail = "only Alert and Update are read: a Cancel is a Recall, an Ack an OfficerAcknowledgement"
        raise error(Reason.BAD_FIELD, field=f"{root.place}: msgType", detail=detail, next_step=step)
    if kind == "Update":
        reading.note(root.place, "msgType", "an update of an earlier alert: correct or recall that one")
    infos = root.all("info")
    if not infos:
        raise root.refused("an alert without info says nothing")
    found = [_message(info, marks, reading) for info in infos]
    identifier = root.value("identifier")
    if any(ours for _, ours in found):
        root.skip("sender", "sent", "note")
    elif not marks.originator_ref and len(identifier) <= _REFERENCE_MAX:
        for message, _ in found:
            message.handling.originator_ref = identifier
    else:
        reading.note(root.place, "identifier", "not carried")
    for message, _ in found:
        if type(message) is MaritimeAdvisory:
            message.advisory_id = message.advisory_id or identifier
    for child in root.children:
        if child.namespace == _SIGNATURE:
            reading.note(child.place, child.name, "the signature was not checked")
            root.all(child.name, _SIGNATURE)[0].take()
    for place, path in root.unread():
        reading.note(place, path, "not carried")
    return [message for message, _ in found]


def _marks(root: Element, handling: Handling, reading: Reading) -> Handling:
    """Return the caller's marks together with what status, scope, restriction and codes say."""
    status = root.value("status")
    if status not in words.STATUSES:
        _refuse(root, "status", "a draft is no alert" if status == "Draft" else "none of CAP's words")
    scope = root.value("scope")
    if scope not in _SCOPES:
        _refuse(root, "scope", "none of CAP's words")
    found = [f"OP_STATUS:{status.upper()}"]
    restriction = root.one("restriction")
    if restriction is not None:
        found.append(restriction.text)
    for code in root.all("code"):
        if labels.is_label(code.text):
            found.append(code.text)
        else:
            reading.note(code.place, "code", "a code of others: left out")
    if not any(label.strip().upper().startswith("TLP:") for label in found):
        found.append(_SCOPES[scope])
    try:
        return labels.with_labels(handling, found)
    except ExchangeError as refused:
        where = f"{root.place}: {refused.field}"
        raise error(refused.reason, field=where, detail=refused.detail, next_step=refused.next_step) from None


def _refuse(root: Element, name: str, detail: str) -> NoReturn:
    raise error(Reason.BAD_FIELD, field=f"{root.place}: {name}", detail=detail)


def _message(info: Element, marks: Handling, reading: Reading) -> tuple[Any, bool]:
    """Return the message of one info block, and whether we wrote it."""
    kind, rest = _ours(info, reading)
    message = (kind or Alert)(handling=marks)
    handling = message.handling
    for name, table in (
        ("urgency", words.URGENCIES),
        ("severity", words.SEVERITIES),
        ("certainty", words.CERTAINTIES),
    ):
        word = info.value(name)
        if word in table:
            if type(message) is Alert:
                setattr(handling, name, table[word])
        else:
            reading.note(info.place, name, "none of CAP's words: set it before sending")
    language = info.value("language")
    message.lang = language or ("" if rest is not None else _DEFAULT_LANGUAGE)
    message.headline = _text(info, "headline")
    onset, end = info.one("onset"), info.one("expires")
    if onset is not None:
        words.set_time(message.starts_at, onset)
    if type(message) is Alert:
        _alert(message, info, end, reading)
    else:
        _advisory(message, info, end)
    _areas(message, info, rest, reading)
    _contact(message, info, rest, reading)
    if rest is not None:
        for name in ("category_text", "advisory_id", "incident_ids", "severity", "lang"):
            take(message, rest, name)
        if kind is MaritimeAdvisory and words.measures_text(rest.recommended_measures) == _text(info, "instruction"):
            take(message, rest, "recommended_measures")
    return message, rest is not None


def _alert(message: Any, info: Element, end: Element | None, reading: Reading) -> None:
    """Set what only an Alert has."""
    message.event = _text(info, "event")
    message.headline = message.headline or message.event
    message.description, message.instruction = _text(info, "description"), _text(info, "instruction")
    for name, field, table in (
        ("category", message.categories, words.CATEGORIES),
        ("responseType", message.response_types, words.RESPONSES),
    ):
        for element in info.all(name):
            number = table.get(element.words)
            if number is None:
                reading.note(element.place, name, "none of CAP's words: left out")
            elif number not in field:
                field.append(number)
    if words.CATEGORIES["Other"] in message.categories:
        message.category_text = message.event
    if end is not None:
        words.set_time(message.handling.valid_until, end)
    else:
        reading.note(info.place, "expires", "the alert does not say when it ends: set valid_until before sending")


def _advisory(message: Any, info: Element, end: Element | None) -> None:
    """Set what only a MaritimeAdvisory has; what it wrote for others to read says nothing more."""
    info.skip("category", "event")
    message.pattern = _text(info, "description")
    message.recommended_measures.extend(dict.fromkeys(words.measures_of(_text(info, "instruction"))))
    if end is not None:
        words.set_time(message.ends_at, end)


def _text(info: Element, name: str) -> str:
    """Return a text with its lines, without white space at its ends."""
    found = info.one(name)
    return found.text.strip() if found is not None else ""


def _ours(info: Element, reading: Reading) -> tuple[Any, Any]:
    """Return type and rest of a message that we wrote, or neither; parameters of others are noted.

    Raises:
        MalformedError: `BAD_FIELD` with the line where our own parameter is damaged or stands twice.
    """
    found: tuple[Any, Any] = None, None
    kinds = {f"{words.OURS}{kind.DESCRIPTOR.name}": kind for kind in REST}
    for parameter in info.all("parameter"):
        kind, value = kinds.get(parameter.value("valueName")), parameter.one("value")
        if kind is None or value is None:
            parameter.take()
            reading.note(parameter.place, "parameter", "of others: left out")
        elif found[0] is not None:
            raise parameter.refused("our own parameter stands more than once")
        else:
            found = kind, words.rest_of(kind, value, REST[kind])
    return found


def take(message: Any, rest: Any, name: str) -> None:
    """Take a field of one message into another of its type, if it is set there."""
    for field, value in rest.ListFields():
        if field.name != name:
            continue
        message.ClearField(name)
        if field.is_repeated:
            getattr(message, name).extend(value)
        elif field.message_type:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)


def add_areas(message: Any, parent: Element) -> None:
    """Add the areas of a message as CAP has them."""
    for index, area in enumerate(message.areas):
        names = [name.text for name in area.place.names]
        text = area.area_text if type(message) is Alert else ", ".join(names) or f"Area {index + 1}"
        areas.add_area(parent, text, area.place, area.radius_m if area.HasField("radius_m") else None)


def _areas(message: Any, info: Element, rest: Any, reading: Reading) -> None:
    """Set the areas; our own are taken where they say the same as the alert's."""
    for element, text, place, radius in areas.read_areas(info):
        area = message.areas.add(local_id=f"area-{len(message.areas) + 1}")
        if not text:
            reading.note(element.place, "areaDesc", "an area is not described")
        if len(text) > _TEXT_MAX:
            reading.note(element.place, "areaDesc", f"cut after {_TEXT_MAX} characters")
        if type(message) is Alert:
            area.area_text = text[:_TEXT_MAX]
        if place is not None:
            area.place.CopyFrom(place)
        if radius is not None:
            area.radius_m = radius
    if rest is None or not rest.areas:
        return
    written = Element("info", info.namespace)
    add_areas(rest, written)
    if [areas.shape(found) for found in written.all("area")] == [areas.shape(found) for found in info.all("area")]:
        take(message, rest, "areas")
    else:
        reading.note(info.place, "area", "changed since we wrote it: what stood in our own parameter is left out")


def _contact(message: Any, info: Element, rest: Any, reading: Reading) -> None:
    """Set whom to ask; our own is taken where it says the same as the alert's."""
    name, text = info.value("senderName"), _text(info, "contact")
    if rest is not None and rest.HasField("contact") and words.contact_text(rest.contact).strip() == text:
        take(message, rest, "contact")
    elif text and not words.set_contact(message.contact, name, text):
        message.ClearField("contact")
        reading.note(info.place, "contact", "no telephone number or e-mail address in it: left out")
    elif name and not text:
        reading.note(info.place, "senderName", "not carried")


def apart(message: Any) -> list[str]:
    """Return the fields that must stand in our own parameter, so that the message comes back as it went."""
    names = {field.name for field, _ in message.ListFields()} & REST[type(message)]
    again = type(message)()
    written = Element("info", words.NAMESPACE)
    add_areas(message, written)
    try:
        _areas(again, written, None, Reading(lambda _: iter(())))
        if list(again.areas) == list(message.areas):
            names.discard("areas")
    except ExchangeError:
        pass  # what CAP cannot say of them stands in the parameter
    if words.LANGUAGE.fullmatch(message.lang):
        names.discard("lang")
    if type(message) is MaritimeAdvisory:
        if words.is_id(message.advisory_id):
            names.discard("advisory_id")
        if words.measures_of(words.measures_text(message.recommended_measures)) == list(message.recommended_measures):
            names.discard("recommended_measures")
    return sorted(names)
