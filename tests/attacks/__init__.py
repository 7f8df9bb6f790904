"""Attacks: what hostile relays, agencies and recipients try, and what each who meets it must answer.

`table` says what an attack is, `scene` stages it with real keys and real messages, `forging` makes what honest programs
never make. The other modules are the attacks, by adversary; `page` writes them down as docs/attacks.md.
"""
