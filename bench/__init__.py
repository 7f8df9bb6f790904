"""Measurements: what the rules cost beside the cryptography they rest on, and what two real relays carry."""
