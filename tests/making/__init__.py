"""Making: the program that made `proto/vectors`; `python -m making` adds what is missing.

Sealed bytes cannot be made twice: HPKE, Cobblestone and ML-DSA draw randomness of their own. So a vector that exists is
never written again, and each new one is written only after the library gives the outcome expected.
"""
