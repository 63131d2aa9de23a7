"""Which scenes are kept out of training, where a data set does not say."""

from __future__ import annotations

import hashlib


def draw_split(scene: str, val_fraction: float, seed: int) -> str:
    """`val` for about `val_fraction` of all scenes, else `train`.

    Follows from the seed and the scene's name alone: files that are added later move no other scene.
    """
    digest = hashlib.sha256(f"{seed}:{scene}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < val_fraction * 2**64 else "train"
