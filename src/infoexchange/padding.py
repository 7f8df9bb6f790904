"""Padding: lengths that tell little about what is inside (SPEC section Content)."""

from __future__ import annotations


def padme(length: int) -> int:
    """Return the padded length: at most 12 % more, and few distinct values (PETS 2019, "Reducing metadata leakage")."""
    if length < 64:  # below this every message looks alike
        return 64
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (length + mask) & ~mask
