"""Config: the relay's settings, from one TOML file and the environment; the only reader of either.

Whoever sets up a relay should have to look once: every mistake is reported at the same time, with its line. Each
setting is declared once, in `settings`; the file that `init` writes, its check and the operator's page follow it.
"""

from infoexchange_relay.config.bucket import BucketPlace
from infoexchange_relay.config.kinds import LOG_LEVELS, parse_address
from infoexchange_relay.config.reading import ENVIRONMENT_PREFIX, ConfigError, load
from infoexchange_relay.config.settings import Config, Setting, declared
from infoexchange_relay.config.witnesses import ForeignWitness
from infoexchange_relay.config.writing import settings_file, settings_table

__all__ = [
    "ENVIRONMENT_PREFIX",
    "LOG_LEVELS",
    "BucketPlace",
    "Config",
    "ConfigError",
    "ForeignWitness",
    "Setting",
    "declared",
    "load",
    "parse_address",
    "settings_file",
    "settings_table",
]
