"""The command `infoexchange-relay`, also started as `python -m infoexchange_relay`."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

# What the extra `relay` installs beyond the library.
_NEEDED = ("structlog", "prometheus_client", "grpc_health", "grpc_reflection")
_USAGE = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        print(f"infoexchange-relay: {names} missing. Run: pip install 'infoexchange[relay]'", file=sys.stderr)
        return _USAGE

    # Read by grpc when it is loaded, so they must be set before. No cipher suite that our ECDSA certificates could use
    # in TLS 1.2 is left; and a failed handshake is not worth a line on standard error that is no JSON.
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from infoexchange.cli.memory import use_few_arenas
    from infoexchange_relay import cli

    use_few_arenas()
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
