"""Right records of an IndicatorSet, and any JSON at all, for properties of the bridges that carry indicators."""

from __future__ import annotations

from hypothesis import strategies as st

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
words = texts.filter(lambda text: text == text.strip())
free = st.sampled_from([3, 4, 5, 6, 7, 12, 13, 14])
shaped = st.sampled_from(
    [
        (1, "192.0.2.0/24"),
        (2, "2001:db8::1"),
        (8, "a" * 32),
        (9, "B" * 40),
        (10, "c" * 64),
        (11, "0" * 128),
        (15, "AS64496"),
    ]
).map(lambda pair: {"type": pair[0], "value": pair[1]})
times = st.integers(1_700_000_000, 1_800_000_000).map(lambda seconds: {"seconds": seconds})
maybe = st.fixed_dictionaries(
    {},
    optional={
        "name": texts, "description": texts, "confidence": st.integers(0, 100), "tlp": st.sampled_from([1, 2]),
        "created_at": times, "indicator_types": st.lists(texts, max_size=2),
        "valid_from": st.just({"seconds": 1_600_000_000}), "valid_until": times, "pattern_version": texts,
        "first_seen": st.just({"seconds": 1_600_000_000}), "last_seen": times,
    },
)  # fmt: skip
bodies = st.one_of(
    st.builds(dict, type=free, value=words),
    shaped,
    st.builds(dict, type=st.just(17), type_text=texts, value=words),
    st.builds(dict, type=st.just(1), value=st.just("198.51.100.7"), port=st.integers(1, 65535)),
    st.builds(dict, type=st.just(16), pattern=words, pattern_type=st.sampled_from([2, 3, 4, 5, 6])),
    st.builds(dict, type=free, value=words, pattern=words, pattern_type=st.just(6)),
    st.builds(dict, type=st.just(16), pattern=words, pattern_type=st.just(7), pattern_type_text=st.just("kql")),
    st.just({"type": 16, "pattern": "[file:name = 'a' AND file:size = 1]", "pattern_type": 1}),
    st.just({"type": 1, "value": "198.51.100.7", "pattern": "[ipv4-addr:value='198.51.100.7']", "pattern_type": 1}),
    st.just({"type": 1, "value": "198.51.100.7", "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": 1}),
)
contexts = st.builds(
    lambda kind, extra: {"kind": kind, "kind_text": "botnet" if kind == 7 else ""} | extra,
    st.integers(1, 7),
    st.fixed_dictionaries(
        {"name": texts},
        optional={
            "description": texts,
            "types": st.lists(texts, max_size=2),
            "is_family": st.booleans(),
            "created_at": times,
        },
    ),
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
