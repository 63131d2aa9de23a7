"""Two dates of one place: what was built and what was torn down between them is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from msgfm.data.synthetic.fields import Array, Mask, Random
from msgfm.data.synthetic.scene import Scene

_HALF_ROOF = 0.5  # of a pixel: from here on it counts as building


def before_and_after(
    rng: Random, first: Scene, second: Scene, *, built: float = 0.35, torn_down: float = 0.05
) -> tuple[Scene, Scene]:
    """Takes houses out of either date.

    Args:
        rng: chooses the houses.
        first: the place with all its houses, on the first date.
        second: the same place (drawn from the same state of chance), on the second date: other leaves and crops, the
            same houses.
        built: share of the houses that are there on the second date only.
        torn_down: share that are there on the first date only.
    """
    # A house is known by its number in `roof`, whose lower digits choose whether it stands.
    fate = first.roof * np.float32(97) + np.float32(rng.random())
    fate = fate - np.floor(fate)
    return _without(first, fate < built), _without(second, fate > 1 - torn_down)


def building_change(before: Scene, after: Scene) -> NDArray[np.uint8]:
    """255 where one date has a building and the other has none: (H, W)."""
    changed = (before.building > _HALF_ROOF) != (after.building > _HALF_ROOF)
    return np.where(changed, np.uint8(255), np.uint8(0))


def _without(scene: Scene, gone: Mask) -> Scene:
    """The scene without the houses on these pixels; what is left is the ground of their lots."""
    stays = (~gone).astype(np.float32)

    def kept(image: Array) -> Array:
        return image * stays

    return replace(scene, building=kept(scene.building), building_m=kept(scene.building_m), roof=kept(scene.roof))
