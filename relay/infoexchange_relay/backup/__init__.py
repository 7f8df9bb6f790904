"""Backup: a relay's data as one file, made while the relay runs, and put back where nothing newer is known.

What is never in it: the latch, which tells old data from new, and keys. Layout: an uncompressed tar file of the data's
files as they lie below the folder `data`, and at its end `manifest.json`, which names each with its SHA-256.
"""

from infoexchange_relay.backup.making import Made, last_backup, make_backup
from infoexchange_relay.backup.manifest import Manifest
from infoexchange_relay.backup.restoring import Restored, restore

__all__ = ["Made", "Manifest", "Restored", "last_backup", "make_backup", "restore"]
