"""Do the images of one sample show the same ground, pixel on pixel?

Grids are compared by their coordinates. Where files have none, or wrong ones, the shift between two images is estimated
by phase correlation (Kuglin and Hines, 1975) of the magnitude of their gradients: edges of fields, shores and roads
are where they are in radar, optical images and heights alike, whatever their sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage

_CROP = 256
_SMALLEST = 32
# In pixels of the coarser image: a peak this far out is a shift; it is clear if it stands this far above the rest.
_SHIFT = 4.0
_CLEAR = 14.0
_ABSENT = 6.0


@dataclass(frozen=True, kw_only=True)
class Shift:
    """An estimated shift.

    Args:
        rows: of the second image against the first, in pixels of the coarser of the two; downwards is positive.
        columns: likewise, to the right.
        clarity: height of the correlation's peak over the median, in median absolute deviations scaled to a standard
            deviation; chance peaks reach 12 on real pairs.
    """

    rows: float
    columns: float
    clarity: float

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(self.rows, self.columns))


def estimate_shift(first: NDArray[np.float64], second: NDArray[np.float64]) -> Shift | None:
    """Estimates by how much the second image is shifted against the first.

    Args:
        first: h x w, NaN where there is no data.
        second: another h x w of the same extent; the finer one is averaged to the coarser one's grid.

    Returns:
        None where an image is too small or has too little structure to say anything.
    """
    shape = (min(first.shape[0], second.shape[0]), min(first.shape[1], second.shape[1]))
    first, second = (_centre(_averaged(image, shape)) for image in (first, second))
    if min(first.shape) < _SMALLEST:
        return None
    edges = [_edges(image) for image in (first, second)]
    if any(edge is None for edge in edges):
        return None
    spectra = [np.fft.rfft2(edge) for edge in edges if edge is not None]
    cross = spectra[1] * np.conj(spectra[0])
    # Whitened, and the highest frequencies left out: there is noise and the interpolation of resampled bands.
    whitened = cross / np.maximum(np.abs(cross), 1e-12) * _lowpass(first.shape)
    surface = np.fft.irfft2(whitened, s=first.shape)
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    some = surface[::2, ::2]
    centre = np.median(some)
    spread = 1.4826 * np.median(np.abs(some - centre))
    if spread <= 0:
        return None
    h, w = surface.shape
    return Shift(
        rows=float(row if row <= h // 2 else row - h),
        columns=float(column if column <= w // 2 else column - w),
        clarity=float((surface[row, column] - centre) / spread),
    )


def shift_findings(images: Sequence[StoredImage]) -> Iterator[Finding]:
    """Compares every image of a sample with the first of its finest."""
    if len(images) < 2:
        return
    reference = max(images, key=lambda image: _detail(image).size)
    ours = _detail(reference)
    for image in images:
        if image is reference or image.file == reference.file:
            continue
        found = estimate_shift(ours, _detail(image))
        if found is not None and found.length <= _SHIFT and found.clarity >= _ABSENT:
            continue
        clear = found is not None and found.clarity >= _CLEAR
        if found is None:
            seen = "too little structure to measure a shift"
        elif clear:
            seen = f"shifted by {found.rows:+.0f} rows and {found.columns:+.0f} columns against {reference.file}"
        else:
            seen = f"no clear peak of correlation with {reference.file}"
        yield Finding(
            kind="pair-shift",
            severity="error" if clear else "undecided",
            file=image.file,
            seen=seen,
            expected=f"images of one sample to lie within {_SHIFT:g} pixels of each other",
            confidence=0.95 if clear else 0.3,
            remedy="register the two files, or leave the sample out (`--accept pair-shift` uses it as it is)",
        )


def _detail(image: StoredImage) -> NDArray[np.float64]:
    """The finest band nearest to green or to VV, NaN where there is no data."""
    finest = max(one.stored.size for one in image.bands)
    bands = [one for one in image.bands if one.stored.size == finest]
    one = min(bands, key=lambda one: abs((one.band.wavelength_nm or 0) - 620))
    physical = np.asarray(one.physical(one.stored.astype(np.float64)))
    return np.where(one.valid, physical, np.nan)


def _averaged(image: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Means over the pixels of a coarser grid of the same extent."""
    for axis, (old, new) in enumerate(zip(image.shape, shape, strict=True)):
        if old != new:
            starts = (np.arange(new) * old) // new
            counts = np.diff(np.append(starts, old))
            image = np.add.reduceat(image, starts, axis=axis) / (counts[:, None] if axis == 0 else counts)
    return image


def _centre(image: NDArray[np.float64]) -> NDArray[np.float64]:
    h, w = (min(side, _CROP) for side in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    return image[top : top + h, left : left + w]


def _edges(image: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Magnitude of the gradient of the smoothed image, ranked to 0..1 and faded towards the border."""
    valid = np.isfinite(image)
    if valid.mean() < 0.5:
        return None
    filled = _smoothed(image if valid.all() else np.where(valid, image, np.median(image[valid])))
    down, right = np.gradient(filled)
    magnitude = np.hypot(down, right)
    # No edges where data end, nor beside it.
    if not valid.all():
        near = _smoothed((~valid).astype(np.float64)) > 0.01
        magnitude[near] = np.median(magnitude[~near]) if (~near).any() else 0.0
    low, high = np.quantile(magnitude[::2, ::2], (0.02, 0.98))
    if high <= low:
        return None
    clipped = np.clip((magnitude - low) / (high - low), 0, 1)
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    faded: NDArray[np.float64] = (clipped - clipped.mean()) * window
    return faded


def _smoothed(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """A 5 x 5 mean: the gradient of raw radar is speckle."""
    h, w = image.shape
    padded = np.pad(image, 2, mode="edge")
    rows = padded[:h] + padded[1 : h + 1] + padded[2 : h + 2] + padded[3 : h + 3] + padded[4:]
    mean: NDArray[np.float64] = (
        rows[:, :w] + rows[:, 1 : w + 1] + rows[:, 2 : w + 2] + rows[:, 3 : w + 3] + rows[:, 4:]
    ) / 25
    return mean


def _lowpass(shape: tuple[int, int]) -> NDArray[np.float64]:
    """A Gaussian over the frequencies of `rfft2`."""
    rows, columns = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    weights: NDArray[np.float64] = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 0.12**2))
    return weights
