"""The relay program: stores, network service and upkeep around the rules of `infoexchange.node`."""

# Not read from the installed package: its metadata holds all of the README, which a relay need not have in memory.
__version__ = "0.1.0"
