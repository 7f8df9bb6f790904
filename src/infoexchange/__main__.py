"""The command `infoexchange`, also started as `python -m infoexchange`."""

import sys
from collections.abc import Sequence

_INTERRUPTED = 130  # as shells give it for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        from infoexchange import cli
        from infoexchange.cli.memory import use_few_arenas

        use_few_arenas()
        return cli.main(argv)
    except KeyboardInterrupt:  # before the command itself could say so
        print("infoexchange: interrupted; nothing was begun", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
