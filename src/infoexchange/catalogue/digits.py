"""Digits: the check digits and number plans that a regular expression cannot express.

Each function answers whether a value that already has the right shape can be right; an empty value is never passed.
"""

from __future__ import annotations

from itertools import cycle

# First three digits of a ship's MMSI: smallest and largest country code of ITU-R M.585.
MID_MIN, MID_MAX = 201, 775

# Letters of a container number, ISO 6346: from 10 on, without the multiples of 11.
_CONTAINER_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 40) if n % 11), strict=False))

_ICAO_VALUES = {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}


def is_imo(number: str) -> bool:
    """Tell whether the last digit of a ship's IMO number is right: weights 7 to 2 over the first six, modulo 10."""
    total = sum(int(digit) * weight for digit, weight in zip(number, range(7, 1, -1), strict=False))
    return total % 10 == int(number[6])


def is_mmsi(number: str) -> bool:
    """Tell whether an MMSI has the shape of a ship, a craft of a ship (98) or a handheld radio (8)."""
    start = 2 if number.startswith("98") else 1 if number.startswith("8") else 0
    return MID_MIN <= int(number[start : start + 3]) <= MID_MAX


def is_luhn(number: str) -> bool:
    """Tell whether the Luhn digit at the end is right (IMEI, ICCID)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_cas(number: str) -> bool:
    """Tell whether the last digit of a CAS number is right: weights 1, 2, 3 ... from the right, modulo 10."""
    figures = number.replace("-", "")
    total = sum(int(digit) * place for place, digit in enumerate(reversed(figures)))
    return total % 10 == int(figures[-1])


def is_container(number: str) -> bool:
    """Tell whether the last digit of a container number is right: weights 1, 2, 4 ... over the rest, modulo 11."""
    values = (_CONTAINER_VALUES[sign] if sign in _CONTAINER_VALUES else int(sign) for sign in number[:10])
    return sum(value << place for place, value in enumerate(values)) % 11 % 10 == int(number[10])


def is_mod97(number: str) -> bool:
    """Tell whether the two check digits at the end are right (LEI, ISO 7064 mod 97-10)."""
    return int("".join(str(int(character, 36)) for character in number)) % 97 == 1


def is_iban(number: str) -> bool:
    """Tell whether the check digits of an IBAN, third and fourth of it, are right (ISO 13616, ISO 7064 mod 97-10)."""
    # 00, 01 and 99 give the same remainder as 97, 98 and 02, and are never issued.
    return number[2:4] not in {"00", "01", "99"} and is_mod97(number[4:] + number[:4])


def icao_digit(text: str) -> str:
    """Return the check digit of ICAO 9303: weights 7, 3, 1 in turn, modulo 10."""
    pairs = zip(text, cycle((7, 3, 1)), strict=False)
    return str(sum(_ICAO_VALUES[character] * weight for character, weight in pairs) % 10)


def is_machine_readable_zone(lines: list[str]) -> bool:
    """Tell whether the check digits of a document's zone hold (ICAO 9303: TD1, TD2, TD3 and visas).

    Lines of another shape pass unchecked.
    """
    shape = [len(line) for line in lines]
    if shape == [30] * 3:  # cards: the number stands in the first line, the dates in the second
        high, low = lines[0][5:], lines[1]
        parts = [(high[:9], high[9]), (low[:6], low[6]), (low[8:14], low[14])]
        whole = high + low[:7] + low[8:15] + low[18:29]
    elif shape in ([36] * 2, [44] * 2):
        low = lines[1]
        parts = [(low[:9], low[9]), (low[13:19], low[19]), (low[21:27], low[27])]
        whole = low[:10] + low[13:20] + low[21:-1]
    else:
        return True
    is_visa = lines[0].startswith("V")  # has no digit over the whole
    if shape != [44] * 2:
        # The number goes on among the optional data where it is too long; its place says so.
        parts = [(text, digit) for text, digit in parts if digit != "<"]
    elif not is_visa and low[42] != "<":
        parts.append((low[28:42], low[42]))
    return all(icao_digit(text) == digit for text, digit in parts + ([] if is_visa else [(whole, low[-1])]))
