"""The histogram: what it holds is exactly what was put in, and the native walker sorts it the same way."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.histogram import BUCKETS, EMPTY, POWERS, Histogram, bucket_of, highest_of

VALUES = st.one_of(st.integers(0, 100), st.integers(0, 1 << POWERS), st.integers(0, (1 << 64) - 1))


@given(VALUES)
def test_a_value_lies_within_its_bucket(value: int) -> None:
    bucket = bucket_of(value)
    assert 0 <= bucket < BUCKETS
    if value < 1 << POWERS:
        lowest = highest_of(bucket - 1) + 1 if bucket else 0
        assert lowest <= value <= highest_of(bucket)
        assert highest_of(bucket) - lowest <= lowest / 16


def test_buckets_follow_each_other_without_hole() -> None:
    for bucket in range(BUCKETS):
        assert bucket_of(highest_of(bucket)) == bucket
        if bucket + 1 < BUCKETS:
            assert bucket_of(highest_of(bucket) + 1) == bucket + 1
    assert highest_of(BUCKETS - 1) == (1 << POWERS) - 1


@given(VALUES)
def test_the_native_bucket_is_the_same(value: int) -> None:
    from ingest.rings.walk import WalkerMissing
    from ingest.rings.walk_native import load

    try:
        native = load()
    except WalkerMissing as missing:
        pytest.skip(str(missing))
    assert native.quietcore_walk_bucket(ctypes.c_uint64(value)) == bucket_of(value)


@given(st.lists(st.integers(-1000, 1 << 42), max_size=60), st.lists(st.integers(-1000, 1 << 42), max_size=60))
def test_merging_is_counting_together(first: list[int], second: list[int]) -> None:
    merged = Histogram.of(first).merged(Histogram.of(second))
    assert merged == Histogram.of(first + second)
    assert merged.total == len(first) + len(second)


@given(st.lists(st.integers(0, (1 << POWERS) - 1), min_size=1, max_size=80), st.sampled_from((0, 1, 50, 90, 99, 99.9, 100)))
def test_percentiles_are_those_of_the_values(values: list[int], percent: float) -> None:
    found = Histogram.of(values).percentile(percent)
    ordered = sorted(values)
    exact = ordered[max(1, -int(-len(values) * percent // 100)) - 1]
    assert found is not None
    assert exact <= found <= max(exact + exact // 16 + 1, exact)
    assert found <= max(values)


def test_the_maximum_is_exact_beyond_the_last_bucket() -> None:
    histogram = Histogram.of([1 << 50, 3])
    assert histogram.max_ns == 1 << 50
    assert histogram.percentile(100) == 1 << 50
    assert histogram.total == 2


def test_negative_latencies_are_counted_by_name() -> None:
    histogram = Histogram.of([-5, -1, 100])
    assert (histogram.total, histogram.negative, histogram.percentile(50)) == (3, 2, 100)


def test_nothing_has_no_percentile() -> None:
    assert EMPTY.percentile(50) is None
    assert Histogram.of([-1]).percentile(99) is None
    with pytest.raises(ValueError, match="percentage"):
        EMPTY.percentile(101)
