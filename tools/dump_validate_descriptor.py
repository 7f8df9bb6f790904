"""Write a FileDescriptorSet with `buf/validate/validate.proto`, taken from the protovalidate wheel.

Our `.proto` files import validate.proto for their rules. Taking its descriptor from the wheel pinned in the group
`proto` means that no copy of its text has to be kept here, and that the rules are written against exactly the version
that is tested. The module read is private to the wheel, hence the exact pin.

Use: python tools/dump_validate_descriptor.py build/validate_set.binpb
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from protovalidate._gen.buf.validate import validate_pb

# Everything validate.proto imports, in an order in which each file follows what it imports.
IMPORTS = (descriptor_pb2, duration_pb2, timestamp_pb2, field_mask_pb2)


def validate_set() -> descriptor_pb2.FileDescriptorSet:
    """Return validate.proto with everything it imports."""
    file = validate_pb.FieldRules.desc().file
    # A property in some releases of the wheel's protobuf library, a method in others.
    proto = file.proto() if callable(file.proto) else file.proto
    validate = descriptor_pb2.FileDescriptorProto.FromString(proto.to_binary())
    result = descriptor_pb2.FileDescriptorSet()
    for module in IMPORTS:
        module.DESCRIPTOR.CopyToProto(result.file.add())
    missing = set(validate.dependency) - {known.name for known in result.file}
    if missing:
        sys.exit(f"validate.proto imports {sorted(missing)}: add them to IMPORTS")
    result.file.append(validate)
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    Path(sys.argv[1]).write_bytes(validate_set().SerializeToString())
