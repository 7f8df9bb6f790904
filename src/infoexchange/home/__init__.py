"""Home: an agency's folder: its keys, certificates, bundles, directory and spool.

Everything an agency must not lose stands in one folder that a backup can take whole. Each file is replaced whole or not
at all, so that a crash or a full disk leaves the old state; key files that others could read are refused.
"""

from infoexchange.home.agency import Home, Tls
from infoexchange.home.folder import Folder
from infoexchange.home.keychain import Keychain

__all__ = ["Folder", "Home", "Keychain", "Tls"]
