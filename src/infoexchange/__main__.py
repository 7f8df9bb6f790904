"""The command `infoexchange`, also started as `python -m infoexchange`."""

import sys

from infoexchange.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
