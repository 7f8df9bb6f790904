"""What a released schema promised stays: numbers, names and kinds of every field, and the numbers of every choice.

`make lint` asks `buf breaking` for more; this needs no other program and runs with every test.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2

from infoexchange import catalogue
from infoexchange.catalogue.v1 import options_pb2

ROOT = Path(__file__).resolve().parent.parent
OURS = "infoexchange/catalogue/"
RELEASED = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "proto" / "baseline.binpb").read_bytes())


def now(file):
    made = descriptor_pb2.FileDescriptorProto()
    catalogue._module(Path(file.name).stem).DESCRIPTOR.CopyToProto(made)
    return made


def promises(file):
    """Everything that somebody else's program or stored message relies on."""
    for message in file.message_type:
        for field in message.field:
            kind = (field.number, field.type, field.type_name, field.label, field.proto3_optional)
            choice = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            yield f"{message.name}.{field.name}", (*kind, choice)
    for enum in file.enum_type:
        yield from ((f"{enum.name}.{value.name}", value.number) for value in enum.value)


def test_what_was_released_stays():
    files = [file for file in RELEASED.file if file.name.startswith(OURS)]
    assert {"common.proto", "handling.proto", "exchange.proto"} <= {Path(file.name).name for file in files}
    changed = {}
    for file in files:
        here = dict(promises(now(file)))
        changed |= {name: (kind, here.get(name)) for name, kind in promises(file) if here.get(name) != kind}
    assert changed == {}


def test_a_changed_number_is_noticed():
    """The comparison sees what it is for."""
    file = next(file for file in RELEASED.file if file.name.endswith("v1/handling.proto") and OURS in file.name)
    other = descriptor_pb2.FileDescriptorProto()
    other.CopyFrom(file)
    other.message_type[0].field[0].number += 1000
    del other.enum_type[0].value[-1]
    lost = {name for name, kind in promises(file) if dict(promises(other)).get(name) != kind}
    assert len(lost) == 2


def test_the_lint_compares_the_catalogue_too():
    """No part of our schemas is left out of `buf breaking`, and the released image holds them."""
    settings = (ROOT / "tools" / "buf-image.yaml").read_text(encoding="utf-8")
    assert "ignore: [buf, google]" in settings.partition("breaking:")[2]
    assert "catalogue" not in settings
    assert "buf breaking build/image.binpb --against proto/baseline.binpb" in (ROOT / "Makefile").read_text()
    assert options_pb2.DESCRIPTOR.name in {file.name for file in RELEASED.file}
