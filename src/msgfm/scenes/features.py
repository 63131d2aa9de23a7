"""Features for each place of a scene: a raster with one pixel for each token of a stage of the encoder."""

from __future__ import annotations

import numpy as np
import torch

from msgfm.geo.grid import Grid
from msgfm.geo.spec import StoredBand
from msgfm.scenes.encoding import Stage
from msgfm.scenes.engine import Image, Images, Piece, Read
from msgfm.scenes.parts import Arrays
from msgfm.scenes.products import MAIN, Product, as_array, float_layer, to_tensors


class FeatureMap(Product):
    """Features of tokens, float32, bands `f0`, `f1`, ...

    The engine works on the grid of the tokens: windows are counted in them, so every window begins where a token does,
    and a token is the same pixels in all windows. It has data where any of its pixels has.

    Args:
        stage: of the encoder.
        device: that it runs on.
        grid: of the scene.
    """

    def __init__(self, stage: Stage, device: torch.device, grid: Grid) -> None:
        self.stage, self.device, self.channels = stage, device, stage.dim
        bands = [StoredBand(name=f"f{i}") for i in range(stage.dim)]
        self.layers = {MAIN: float_layer(grid.coarser(stage.step), bands)}

    def reads(self, read: Read) -> Read:
        """Blocks of pixels, one for each token."""
        step = self.stage.step

        def read_blocks(row: int, column: int, height: int, width: int) -> Images:
            images = read(row * step, column * step, height * step, width * step)
            return {key: fold(image, step) for key, image in images.items()}

        return read_blocks

    def predict(self, images: Images) -> Image:
        """Blocks (B, C step step, h, w) by key to features (B, channels, h, w)."""
        pixels = {key: unfold(image, self.stage.step) for key, image in images.items()}
        with torch.inference_mode():
            return as_array(self.stage.run(to_tensors(pixels, self.device)))

    def encode(self, piece: Piece) -> Arrays:
        """NaN where there is no data."""
        return {MAIN: np.where(piece.valid, piece.values, np.float32(np.nan))}


def fold(image: Image, step: int) -> Image:
    """(C, h step, w step) to (C step step, h, w): a block of pixels becomes the channels of one."""
    channels, height, width = image.shape[0], image.shape[1] // step, image.shape[2] // step
    blocks = image.reshape(channels, height, step, width, step).transpose(0, 2, 4, 1, 3)
    return blocks.reshape(channels * step * step, height, width)  # C step step h w, joined


def unfold(blocks: Image, step: int) -> Image:
    """(B, C step step, h, w) back to (B, C, h step, w step)."""
    batch, _, height, width = blocks.shape
    image = blocks.reshape(batch, -1, step, step, height, width).transpose(0, 1, 4, 2, 5, 3)  # B C h step w step
    return np.ascontiguousarray(image.reshape(batch, -1, height * step, width * step))
