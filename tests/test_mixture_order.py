"""The order of a mixture: which samples a batch holds follows from seed, pass and number alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_order import make_order

from msgfm.data.mixture import MixtureOrder, MixtureSampler, SampleKey, shuffled

sizes = st.lists(st.tuples(st.integers(1, 23), st.integers(1, 6)), min_size=1, max_size=4)  # length, batch size


def joint_batch(order: MixtureOrder, source: int, visit: int) -> list[SampleKey]:
    return [key for rank in range(order.world_size) for key in order.batch(source, visit, rank)]


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 2**40), st.integers(1, 3))
def test_every_sample_stands_once_in_every_pass(sources, seed, world_size):
    order = make_order(sources, seed, world_size)
    for source, (length, batch_size) in enumerate(sources):
        passes = 3
        visits = math.ceil(passes * length / (batch_size * world_size))
        stream = [key for visit in range(visits) for key in joint_batch(order, source, visit)]
        assert {key.source for key in stream} == {source}
        for epoch in range(passes):
            own = stream[epoch * length : (epoch + 1) * length]
            assert {key.epoch for key in own} == {epoch}
            assert sorted(key.sample for key in own) == list(range(length))


def test_the_order_follows_from_seed_and_pass_alone():
    def stream(seed: int, batch_size: int, others: Sequence[tuple[int, int]], passes: int = 2) -> list[SampleKey]:
        order = make_order([(60, batch_size), *others], seed)
        return [key for visit in range(passes * 60 // batch_size) for key in order.batch(0, visit, 0)]

    first = stream(7, 4, [(9, 2)])
    shuffled.cache_clear()
    assert stream(7, 4, [(9, 2)]) == first
    assert stream(7, 10, [(300, 7), (8, 1)]) == first
    assert [key.sample for key in stream(8, 4, [])] != [key.sample for key in first]
    samples = [key.sample for key in first]
    assert samples[:60] != samples[60:], "passes are shuffled anew"
    assert samples[:60] != list(range(60))
    other = [key.sample for key in make_order([(60, 60), (60, 60)], 7).batch(1, 0, 0)]
    assert other != samples[:60], "sources of one length are not shuffled alike"


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 3), st.integers(0, 40), st.integers(0, 40), st.integers(0, 1))
def test_the_order_is_taken_up_in_the_middle(sources, accumulate, start, length, rank):
    order = make_order(sources, 3, world_size=2, accumulate=accumulate)
    whole = list(MixtureSampler(order, rank=rank, start=0, end=start + length))
    tail = MixtureSampler(order, rank=rank, start=start, end=start + length)
    assert list(tail) == whole[start:]
    assert list(tail) == whole[start:], "it can be gone through twice"
    assert len(tail) == length


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_the_joint_batches_do_not_depend_on_how_they_are_divided(sources, world_size, accumulate, round_):
    """Ranks x batch size x accumulation, of one product, see the same samples in a round."""
    divided = make_order(sources, 5, world_size, accumulate)
    whole = make_order([(length, size * world_size * accumulate) for length, size in sources], 5)
    assert divided.rounds_per_epoch == whole.rounds_per_epoch
    for source in range(len(sources)):
        visits = range(round_ * accumulate, (round_ + 1) * accumulate)
        parts = [key for visit in visits for key in joint_batch(divided, source, visit)]
        assert parts == whole.batch(source, round_, 0)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 3), st.integers(1, 3))
def test_every_round_visits_every_source_once_on_every_rank(sources, world_size, accumulate):
    order = make_order(sources, 1, world_size, accumulate)
    rounds, per_round = 4, len(sources) * accumulate
    for rank in range(world_size):
        batches = list(MixtureSampler(order, rank=rank, start=0, end=rounds * per_round))
        whose = [{key.source for key in batch} for batch in batches]
        assert whose == [{source} for source in range(len(sources)) for _ in range(accumulate)] * rounds
        for source in range(len(sources)):  # and goes on with it where the round before left off
            own = [batch for batch in batches if batch[0].source == source]
            assert own == [order.batch(source, visit, rank) for visit in range(rounds * accumulate)]


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 3), st.integers(1, 3))
def test_an_epoch_is_as_long_as_the_slowest_source_needs(sources, world_size, accumulate):
    order = make_order(sources, 1, world_size, accumulate)

    def seen_whole(rounds: int) -> bool:
        return all(
            {key.sample for visit in range(rounds * accumulate) for key in joint_batch(order, source, visit)}
            == set(range(length))
            for source, (length, _) in enumerate(sources)
        )

    assert seen_whole(order.rounds_per_epoch)
    assert not seen_whole(order.rounds_per_epoch - 1)


def test_batch_sizes_in_proportion_end_together():
    """The paper's 128, 32 and 12 (per GPU) for data of that proportion."""
    order = make_order([(1280, 128), (320, 32), (120, 12)])
    assert order.rounds_per_epoch == 10
    for source in range(3):
        assert {key.epoch for key in order.batch(source, 9, 0)} == {0}
        assert {key.epoch for key in order.batch(source, 10, 0)} == {1}
