"""Transport: the ports over gRPC, both halves.

`session` connects an agency in one line, `channel` opens connections, `remote` is the caller's side of the ports,
`servicers` the relay's side, `witness` both sides of cosigning, and `status` what everyone says when something is
refused. Importing this package loads grpc; `import infoexchange` does not.
"""

from infoexchange.transport.channel import HARDENED, MESSAGE_SIZE_MAX, open_channel, utc_now
from infoexchange.transport.remote import RemoteRelay
from infoexchange.transport.session import connect, follow, reach, visit, visit_both

__all__ = [
    "HARDENED",
    "MESSAGE_SIZE_MAX",
    "RemoteRelay",
    "connect",
    "follow",
    "open_channel",
    "reach",
    "utc_now",
    "visit",
    "visit_both",
]
