"""Take the import of `buf/validate/validate.proto` out of an image of descriptors.

Generated Python would otherwise need a package `buf` at run time, and a second copy of validate.proto anywhere in the
process would clash with it. The rules themselves stay as raw option bytes, where protovalidate still finds and applies
them.

Use: python tools/strip_options.py build/image.binpb build/python.binpb
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

FOREIGN = "buf/"


def strip(image: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """Return the image without the foreign files and without the imports of them."""
    result = descriptor_pb2.FileDescriptorSet()
    for original in image.file:
        if original.name.startswith(FOREIGN):
            continue
        file = result.file.add()
        file.CopyFrom(original)
        if file.public_dependency or file.weak_dependency:
            # Both are indexes into the list of imports, which changes below.
            sys.exit(f"{file.name}: `import public` and `import weak` are not supported")
        del file.dependency[:]
        file.dependency.extend(name for name in original.dependency if not name.startswith(FOREIGN))
    return result


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} SOURCE TARGET")
    parsed = descriptor_pb2.FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_bytes(strip(parsed).SerializeToString())
