"""Form: a message filled in question by question, each answer checked by the rules of the message itself.

Required fields come first; what a rule says is wrong is asked again at once, and whatever is still wrong at the end is
asked again then. The message is saved after every answer, so that it can be left and taken up again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infoexchange.catalogue import rules, schema, yaml_text
from infoexchange.errors import ExchangeError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue.rules import Violation

HELP = """\
An empty answer leaves an optional field out. ? tells more. Ctrl-C leaves; what was answered is kept."""
_DONE = ""


@dataclass
class Form:
    """One message being filled in.

    Attributes:
        message: The message, changed by every answer.
        ask: Returns what a person answers to a question.
        tell: Shows a line to the person.
        save: Keeps what is answered so far.
    """

    message: Message
    ask: Callable[[str], str]
    tell: Callable[[str], None]
    save: Callable[[], None]

    def fill(self) -> None:
        """Ask until every rule holds and nothing more is to be said."""
        self.tell(HELP)
        self._required(self.message, "")
        while True:
            self._correct()
            if not self._optional(self.message, "", "Anything else?"):
                return

    def _correct(self) -> None:
        """Ask again for whatever a rule still refuses."""
        while found := rules.violations(self.message):
            first = found[0]
            self._refused(first)
            record, field, path = self._place(first.field)
            if field is None:
                self._optional(record, path, "Which field?")
            else:
                record.ClearField(field.name)
                self._field(record, field, path)

    def _place(self, path: str) -> tuple[Any, Any, str]:
        """Return the record, the field in it and its path that a rule names; of a choice no field."""
        record: Any = self.message
        parts = path.split(".") if path else []
        for place, part in enumerate(parts):
            name, _, index = part.partition("[")
            field = record.DESCRIPTOR.fields_by_name.get(name)
            here = ".".join(parts[: place + 1])
            if field is None:
                return record, None, ".".join(parts[:place])
            if place == len(parts) - 1:
                return record, field, here.partition("[")[0] if index else here
            value = getattr(record, name)
            record = value[int(index.rstrip("]"))] if index else value
        return record, None, ""

    def _required(self, record: Any, path: str) -> None:
        """Ask for every required field of a record that is not there yet, and for one of every required choice."""
        words = schema.words(record.DESCRIPTOR.name)
        for choice in record.DESCRIPTOR.oneofs:
            said = words.choices.get(choice.name)
            if said and said.required and not record.WhichOneof(choice.name):
                self._choice(record, choice, path)
        for field in record.DESCRIPTOR.fields:
            given = field.name in {found.name for found, _ in record.ListFields()}
            if words.fields[field.name].required:
                if not given:
                    self._field(record, field, _below(path, field.name))
                elif schema.is_ours(field) and not field.is_repeated:
                    self._required(getattr(record, field.name), _below(path, field.name))

    def _choice(self, record: Any, choice: Any, path: str) -> None:
        names = [field.name for field in choice.fields]
        name = ""
        while name not in names:
            name = self.ask(f"{_below(path, choice.name)}: which of {', '.join(names)}").strip()
        self._field(record, record.DESCRIPTOR.fields_by_name[name], _below(path, name))

    def _optional(self, record: Any, path: str, question: str) -> bool:
        """Ask for fields by name until an empty answer; return whether there was any."""
        names = [field.name for field in record.DESCRIPTOR.fields]
        asked = False
        while name := self.ask(f"{question} Name of a field of {path or 'the message'}, ? for a list").strip():
            if name in names:
                asked = True
                self._field(record, record.DESCRIPTOR.fields_by_name[name], _below(path, name))
            else:
                self.tell(f"Fields: {', '.join(names)}")
        return asked

    def _field(self, record: Any, field: Any, path: str) -> None:
        """Ask for one field: a part field by field, a list one by one until there are no more."""
        words = schema.field_words(field)
        self.tell(f"{path}: {words.doc} [{'required' if words.required else 'optional'}]")
        if not schema.is_ours(field) or schema.is_decimal(field):
            self._values(record, field, path)
        elif not field.is_repeated:
            self._part(getattr(record, field.name), field, path)
        else:
            more = "yes"
            while more.startswith("y"):
                part = getattr(record, field.name).add()
                self._part(part, field, f"{path}[{len(getattr(record, field.name)) - 1}]")
                more = self.ask(f"Another of {path}? yes, or empty for no").strip().lower()

    def _part(self, part: Any, field: Any, path: str) -> None:
        """Ask for the required fields of a part, then for those that a person names."""
        part.SetInParent()
        listed = schema.list_of(field)
        if listed and not part.system:
            part.system, part.version = listed.name, listed.version
            self.tell(f"Values: {', '.join(row['value'] for row in listed.rows.values())}")
        if "local_id" in part.DESCRIPTOR.fields_by_name and not part.local_id:
            part.local_id = path.replace("_", "-").replace("[", "-").replace("].", "-").rstrip("]").replace(".", "-")
        self._required(part, path)
        if not listed and any(not schema.field_words(one).required for one in part.DESCRIPTOR.fields):
            while True:
                self._optional(part, path, "More?")
                broken = [one for one in rules.violations(self.message) if one.field.startswith(f"{path}.")]
                if not broken:
                    return
                self._refused(broken[0])

    def _values(self, record: Any, field: Any, path: str) -> None:
        """Ask for the value of a field, or for those of a list until an empty answer."""
        count = 0
        while True:
            answer = self.ask(_prompt(field, path))
            if answer.strip() == "?":
                self._explain(field)
            elif answer == _DONE and (count or not schema.field_words(field).required):
                return
            elif answer == _DONE:
                self.tell("It is required.")
            elif self._taken(record, field, path, answer):
                count += 1
                self.save()
                if not field.is_repeated:
                    return

    def _taken(self, record: Any, field: Any, path: str, answer: str) -> bool:
        """Put an answer into the message, unless the field or one of its rules refuses it."""
        before = type(record)()
        before.CopyFrom(record)
        try:
            yaml_text.set_field(record, field.name, answer)
        except ExchangeError as refused:
            self.tell(f"{refused.detail.removesuffix(' (line 1)')}. {refused.next_step}")
            return False
        for found in rules.violations(self.message):
            if found.field == path or found.field.startswith((f"{path}[", f"{path}.")):
                record.CopyFrom(before)
                self._refused(found)
                return False
        return True

    def _refused(self, found: Violation) -> None:
        self.tell(f"{found.field}: {found.detail}. {found.next_step}")

    def _explain(self, field: Any) -> None:
        words = schema.field_words(field)
        self.tell("; ".join([schema.kind_of(field), *words.limits()]) + ".")
        if field.enum_type:
            for name, meaning in schema.enum_words(field.enum_type).items():
                self.tell(f"  {name}: {meaning}")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _prompt(field: Any, path: str) -> str:
    """Return the question for one value: the field, what may be answered, and an example."""
    example = schema.example_of(field)
    if field.enum_type:
        return f"{path} ({' | '.join(schema.enum_words(field.enum_type))})"
    return f"{path} ({example})" if example else f"{path} ({schema.kind_of(field)})"
