"""Exported: a relay's log as a folder of static files, which any auditor and any C2SP tool can read.

Layout and order of reading: SPEC section Log folder. `LogFolder` reads such a folder, `export_log` writes one.
"""

from infoexchange.exported.folder import LogFolder
from infoexchange.exported.stamps import StampedNote, Stamps, verify_stamp
from infoexchange.exported.writing import Exported, export_log

__all__ = ["Exported", "LogFolder", "StampedNote", "Stamps", "export_log", "verify_stamp"]
