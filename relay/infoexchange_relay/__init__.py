"""The relay program: stores, network service and upkeep around the rules of `infoexchange.node`."""
