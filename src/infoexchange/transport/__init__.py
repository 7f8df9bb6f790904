"""Transport: the ports over gRPC, both halves.

`channel` opens connections, `remote` is the caller's side of the ports, `servicers` the relay's side, `status` what
both say when something is refused. Importing this package loads grpc; `import infoexchange` does not.
"""

from infoexchange.transport.channel import HARDENED, MESSAGE_SIZE_MAX, open_channel, utc_now
from infoexchange.transport.remote import RemoteRelay

__all__ = ["HARDENED", "MESSAGE_SIZE_MAX", "RemoteRelay", "open_channel", "utc_now"]
