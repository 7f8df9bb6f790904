"""Entry: one entry of the UN list as a SanctionsUpdate; what has no field of its own is said in the comments."""

from __future__ import annotations

from typing import Any

from infoexchange.bridges import Reading
from infoexchange.bridges.unlist import words
from infoexchange.catalogue import (
    Address,
    DateKind,
    Handling,
    NameKind,
    PartialDate,
    SanctionsAction,
    SanctionsMeasure,
    SanctionsUpdate,
)
from infoexchange.markup import Element

# Sizes of the message's fields.
_LINE_MAX, _LINES_MAX, _CODE_MAX = 200, 10, 20
_NAMES = ("FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME")
# They order and number the list itself.
_NOT_CARRIED = ("DATAID", "VERSIONNUM", "LIST_TYPE", "SORT_KEY", "SORT_KEY_LAST_MOD")


class Entry:
    """One entry being read: its element, the message in the making, and remarks for its comments."""

    def __init__(self, element: Element, handling: Handling, reading: Reading) -> None:
        self.element = element
        self.reading = reading
        self.message = SanctionsUpdate(handling=handling)
        self.remarks: list[str] = []

    def note(self, element: Element, name: str, detail: str) -> None:
        """Keep a note on a place of this entry."""
        self.reading.note(element.place, name, detail)

    def values(self, name: str) -> list[str]:
        """Return the texts of the values in an element; blank ones are noted."""
        found = [value for group in self.element.all(name) for value in group.all("VALUE")]
        for value in found:
            if not value.words:
                self.note(value, name, "blank: left out")
        return [value.words for value in found if value.words]

    def read_head(self, list_version: str) -> bool:
        """Set what entries on persons and on organisations have alike; without a reference there is no entry."""
        element, message = self.element, self.message
        message.un_ref = element.value("REFERENCE_NUMBER").rstrip(".")
        if not message.un_ref:
            self.note(element, "REFERENCE_NUMBER", "no reference number: entry left out")
            return False
        kind = element.value("UN_LIST_TYPE")
        if not kind:
            self.note(element, "UN_LIST_TYPE", "the entry does not say which list it is on")
        message.list_id = f"UN-{kind}" if kind else "UN"
        message.list_version = list_version
        message.subject = f"Entry {message.un_ref} of the UN Consolidated List"
        message.measures.append(SanctionsMeasure.SANCTIONS_MEASURE_OTHER)
        message.measures_text = f"As the resolutions on the list {kind or 'it stands on'} provide; the file names none."
        self.remarks.extend(filter(None, [element.value("COMMENTS1")]))
        self.read_days()
        # Said once, among the losses, and not noted for each of a thousand entries.
        element.skip(*_NOT_CARRIED)
        return True

    def read_days(self) -> None:
        """Set the days: of the first listing, of updates, and from which the entry stands as it does."""
        message, listed = self.message, self.day("LISTED_ON")
        if listed is not None:
            message.listed_on.CopyFrom(listed)
        for text in self.values("LAST_DAY_UPDATED"):
            updated = words.day(text)
            if updated is None:
                self.note(self.element, "LAST_DAY_UPDATED", "not a day YYYY-MM-DD: left out")
            else:
                message.updated_on.append(updated)
        removed = self.day("DELISTED_ON")
        message.action = SanctionsAction.SANCTIONS_ACTION_ADD
        if removed is not None:
            message.action = SanctionsAction.SANCTIONS_ACTION_DELIST
        elif message.updated_on:
            message.action = SanctionsAction.SANCTIONS_ACTION_AMEND
        last = max(message.updated_on, key=lambda one: (one.year, one.month, one.day), default=listed)
        since = removed or last
        if since is None:
            self.note(self.element, "LISTED_ON", "no day from which the entry stands: effective_on is UNKNOWN")
        message.effective_on.CopyFrom(since or PartialDate(kind=DateKind.DATE_KIND_UNKNOWN))

    def day(self, name: str) -> PartialDate | None:
        """Return the day an element gives, or None; what cannot be read is noted."""
        text = self.element.value(name)
        found = words.day(text)
        if text and found is None:
            self.note(self.element, name, "not a day YYYY-MM-DD: left out")
        return found

    def name(self) -> str:
        """Return the name of the entry: its parts in order, none of which is called a family name."""
        name = " ".join(part for part in map(self.element.value, _NAMES) if part)
        if not name:
            self.note(self.element, "FIRST_NAME", "no name")
        if ";" in name:
            self.note(self.element, "FIRST_NAME", "one name seems to hold several: kept as it stands")
        return name

    def aliases(self, tag: str) -> list[tuple[str, int, int]]:
        """Return further names with their kind and quality, the one in its own script among them."""
        found = []
        script = self.element.value("NAME_ORIGINAL_SCRIPT")
        if script:
            found.append((script, int(NameKind.NAME_KIND_ORIGINAL_SCRIPT), 0))
        for alias in self.element.all(tag):
            name, grade = alias.value("ALIAS_NAME"), alias.value("QUALITY")
            about = self.about(alias, ("DATE_OF_BIRTH", "CITY_OF_BIRTH", "COUNTRY_OF_BIRTH", "NOTE"))
            if not name:
                self.note(alias, "ALIAS_NAME", "blank: left out")
                name = "without a name" if about else ""
            else:
                if grade.lower() not in words.ALIASES:
                    self.note(alias, "QUALITY", "blank" if not grade else "not known: the name is taken as an alias")
                kind, quality = words.ALIASES.get(grade.lower(), (int(NameKind.NAME_KIND_ALIAS), 0))
                found.append((name, kind, quality))
            if about:
                self.remarks.append(f"Alias {name}: {about}")
        return found

    def about(self, element: Element, names: tuple[str, ...]) -> str:
        """Return what some parts of an element say, in words."""
        found = [(name.replace("_", " ").lower(), element.value(name)) for name in names]
        return "; ".join(f"{name} {text}" for name, text in found if text)

    def address(self, element: Element) -> Address | None:
        """Return an address, or None where it says nothing; a note beside it becomes a remark."""
        found = Address()
        lines = [element.value("STREET")]
        city, code = element.value("CITY"), element.value("ZIP_CODE")
        lines.append(element.value("STATE_PROVINCE"))
        if len(city) <= _LINE_MAX:
            found.locality = city
        else:
            lines.append(city)
        if len(code) <= _CODE_MAX:
            found.postal_code = code
        else:
            lines.append(code)
        name = element.value("COUNTRY")
        found.country = words.country(name)
        if name and not found.country:
            self.note(element, "COUNTRY", "no code is known for this name: it stands among the lines")
            lines.append(name)
        parted = [part for line in lines for part in words.split(line, _LINE_MAX)]
        found.lines.extend(parted[:_LINES_MAX])
        self.remarks.extend(f"Address, further: {line}" for line in parted[_LINES_MAX:])
        note = element.value("NOTE")
        if not found.ByteSize():
            if note:
                self.remarks.append(f"Address: {note}")
            else:
                self.note(element, element.name, "blank: left out")
            return None
        if note:
            self.remarks.append(f"Address {', '.join([*found.lines, found.locality, name]).strip(', ')}: {note}")
        return found

    def place(self, field: Any, element: Element) -> bool:
        """Set a place from an element with city, province and country; False where it says nothing."""
        parts = [element.value(name) for name in ("CITY", "STATE_PROVINCE", "COUNTRY")]
        note = element.value("NOTE")
        text = ", ".join(part for part in parts if part)
        if note:
            self.remarks.append(f"Place of birth {text}: {note}" if text else f"Place of birth: {note}")
        if not text:
            return False
        code = words.country(parts[2])
        if code or not parts[2]:
            field.address.locality, field.address.country = parts[0][:_LINE_MAX], code
            field.address.lines.extend(
                [*words.split(parts[1], _LINE_MAX), *words.split(parts[0][_LINE_MAX:], _LINE_MAX)]
            )
        else:
            self.note(element, "COUNTRY", "no code is known for this name: the place stays in words")
            field.stated_text = text
        return True

    def organisation(self) -> None:
        """Set the organisation that is listed."""
        element, message = self.element, self.message
        message.organisation.local_id = "organisation-1"
        message.organisation.name = self.name()
        for found in element.all("ENTITY_ADDRESS"):
            address = self.address(found)
            if address is not None:
                message.organisation.addresses.append(address)
        for text, kind, quality in self.aliases("ENTITY_ALIAS"):
            message.other_names.add(text=text, kind=kind, quality=quality, script=words.script_of(text))

    def finish(self) -> SanctionsUpdate:
        """Return the message with its comments."""
        self.message.comments = "\n".join(self.remarks)
        return self.message
