"""The codec of shards: every type of numbers comes back as it was, and no flipped bit goes unseen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from msgfm.data.shards.codec import DamagedItemError, array_of, pack, unpack

TYPES = ("u1", "i1", "<u2", ">u2", "<i2", "<i4", "<f2", "<f4", "<f8", "<i8", "<c8", "?")


@given(st.data(), st.sampled_from(TYPES), st.tuples(*[st.integers(1, 7)] * 3))
def test_every_type_comes_back_as_it_was_with_its_mask(data: st.DataObject, kind: str, shape: tuple[int, ...]):
    values = data.draw(arrays.arrays(kind, shape))
    mask = data.draw(arrays.arrays(bool, shape))
    item = unpack(
        memoryview(pack({"sample": "it"}, [({}, np.ma.MaskedArray(values)), ({}, np.ma.array(values, mask=mask))]))
    )
    plain, masked = array_of(item, 0), array_of(item, 1)
    assert plain.dtype == values.dtype.newbyteorder("<")
    assert plain.data.tobytes() == masked.data.tobytes() == values.astype(plain.dtype).tobytes()
    assert not np.ma.is_masked(plain)
    assert np.array_equal(np.ma.getmaskarray(masked), mask)


def test_no_flipped_bit_of_a_sample_goes_unseen():
    rng = np.random.default_rng(0)
    packed = pack({"sample": "it"}, [({}, np.ma.MaskedArray(rng.integers(0, 99, (2, 9, 9), np.uint16)))])
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedItemError):
            unpack(memoryview(changed))
