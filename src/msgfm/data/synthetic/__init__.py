"""A synthetic world: made-up but plausible ground, and what the sensors see of it. For demonstrations and tests.

One latent scene (terrain, land cover, leaves, moisture, roads, houses, trees) is drawn from a seed; pure functions
render it: Sentinel-1, Sentinel-2 with and without clouds, aerial photographs, WorldView-3, surface models, labels, and
a second date. The modules say which physics each follows, and where it ends.
"""

from __future__ import annotations

from msgfm.data.synthetic.kinds import KINDS
from msgfm.data.synthetic.world import write_world

__all__ = ["KINDS", "write_world"]
