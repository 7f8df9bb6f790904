"""A federation on one machine: relays and agencies as processes that are killed at random, and a checker.

`make federation` runs it at full size; a test runs a small one. Nothing in it is simulated but the accidents.
"""
