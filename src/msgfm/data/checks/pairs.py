"""Do the images of one sample show the same ground, pixel on pixel?

Grids are compared by their coordinates. Where files have none, or wrong ones, the shift between two images is estimated
by phase correlation (Kuglin and Hines, 1975) of the magnitude of their gradients: edges of fields, shores and roads
are where they are in radar, optical images and heights alike, whatever their sign.

The edges of cast shadows, and of houses that lean or were built meanwhile, lie beside those of what casts them and make
peaks of their own, as clear as that of a shift. But what stands where it should makes one too, or a part of the image
or another width of edges says something else: a shift is called one where all say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from msgfm.data.checks.findings import Finding
from msgfm.data.checks.images import StoredImage

_CROP = 256
_SMALLEST = 32
# In pixels of the coarser image: a peak this far out is a shift; it is clear if it stands this far above the rest.
_SHIFT = 4.0
_CLEAR = 10.0
_ABSENT = 6.0
# Of a clear peak's height: what may be left within so many pixels of no shift at all (if not clear too), and elsewhere.
_NO_SHIFT = 2
_AT_HOME = 0.3
_ELSEWHERE = 0.8
# A peak reaches so far.
_LOBE = 3
# Widths of the Gaussian over frequencies, in cycles a pixel: of the estimate, of coarser and of finer edges; and how
# many pixels apart the peaks of these may be.
_WIDTH = 0.12
_OTHER_WIDTHS = ((0.06, 2), (0.25, 1))
# Windows at the four corners, of this share of each side, of which so many must have the same shift to a pixel.
_WINDOW = 0.6
_AGREEING = 2
# Fine heights against a picture of fewer pixels a side decide nothing: a house and its shadow may be all that is there.
_HOUSE, _FINE_GSD_M = 200, 5.0

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """An estimated shift.

    Args:
        rows: of the second image against the first, in pixels of the coarser of the two; downwards is positive.
        columns: likewise, to the right.
        clarity: height of the correlation's peak over the median, in median absolute deviations scaled to a standard
            deviation; chance peaks reach 12 on real pairs, so it alone decides nothing.
        decisive: a clear shift of more than 4 pixels that nothing else in the images speaks against.
    """

    rows: float
    columns: float
    clarity: float
    decisive: bool = False

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(self.rows, self.columns))


def estimate_shift(first: Array, second: Array) -> Shift | None:
    """Estimates by how much the second image is shifted against the first.

    Args:
        first: h x w, NaN where there is no data.
        second: another h x w of the same extent; the finer one is averaged to the coarser one's grid.

    Returns:
        None where an image is too small or has too little structure to say anything.
    """
    shape = (min(first.shape[0], second.shape[0]), min(first.shape[1], second.shape[1]))
    first, second = (_centre(_averaged(image, shape)) for image in (first, second))
    surface = _correlation(first, second, _WIDTH)
    if surface is None:
        return None
    shift = _peak(surface)
    if shift.clarity < _CLEAR or shift.length <= _SHIFT:
        return shift
    return replace(shift, decisive=_is_decisive(shift, surface, first, second))


def _is_decisive(shift: Shift, surface: Array, first: Array, second: Array) -> bool:
    """Whether no other shift explains the images nearly as well, and edges of all widths and parts of them agree."""
    rest = surface.copy()
    rest[_around(surface, (shift.rows, shift.columns), _LOBE)] = 0
    at_home = float(rest[_around(rest, (0, 0), _NO_SHIFT)].max())
    if at_home > min(_AT_HOME * shift.clarity, _CLEAR) or rest.max() > _ELSEWHERE * shift.clarity:
        return False
    for width, apart in _OTHER_WIDTHS:
        if not _is_at(shift, _correlation(first, second, width), apart):
            return False
    agreeing = (_is_at(shift, _correlation(first[part], second[part], _WIDTH), 1) for part in _windows(first.shape))
    return sum(agreeing) >= _AGREEING


def _correlation(first: Array, second: Array, width: float) -> Array | None:
    """Phase correlation of the edges of two images, over its median and in terms of its spread; None without edges."""
    if min(first.shape) < _SMALLEST:
        return None
    edges = [_edges(image) for image in (first, second)]
    if any(edge is None for edge in edges):
        return None
    spectra = [np.fft.rfft2(edge) for edge in edges if edge is not None]
    cross = spectra[1] * np.conj(spectra[0])
    # Whitened, and the highest frequencies left out: there is noise and the interpolation of resampled bands.
    whitened = cross / np.maximum(np.abs(cross), 1e-12) * _lowpass(first.shape, width)
    surface: Array = np.fft.irfft2(whitened, s=first.shape)
    some = surface[::2, ::2]
    centre = np.median(some)
    spread = 1.4826 * np.median(np.abs(some - centre))
    return (surface - centre) / spread if spread > 0 else None


def _peak(surface: Array) -> Shift:
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    h, w = surface.shape
    return Shift(
        rows=float(row if row <= h // 2 else row - h),
        columns=float(column if column <= w // 2 else column - w),
        clarity=float(surface[row, column]),
    )


def _is_at(shift: Shift, surface: Array | None, apart: int) -> bool:
    """Whether the peak of another correlation is where the shift is, to so many pixels."""
    if surface is None:
        return False
    other = _peak(surface)
    return max(abs(other.rows - shift.rows), abs(other.columns - shift.columns)) <= apart


def _around(surface: Array, place: tuple[float, float], within: int) -> tuple[NDArray[np.intp], ...]:
    """Indices of a square; the surface goes on at its opposite edge."""
    near = np.arange(-within, within + 1)
    return np.ix_(*((near + int(at)) % side for at, side in zip(place, surface.shape, strict=True)))


def _windows(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Parts at the four corners, which overlap."""
    rows, columns = ((slice(0, round(_WINDOW * side)), slice(side - round(_WINDOW * side), side)) for side in shape)
    return [(row, column) for row in rows for column in columns]


def shift_findings(images: Sequence[StoredImage]) -> Iterator[Finding]:
    """Compares every image of a sample with the first of its finest."""
    if len(images) < 2:
        return
    details = [_detail(image) for image in images]
    reference, ours = max(zip(images, details, strict=True), key=lambda pair: pair[1].size)
    for image, theirs in zip(images, details, strict=True):
        if image is reference or image.file == reference.file:
            continue
        found = estimate_shift(ours, theirs)
        if found is not None and found.length <= _SHIFT and found.clarity >= _ABSENT:
            continue
        sure = found is not None and found.decisive and not _may_be_one_house(image, reference)
        if found is None:
            seen = "too little structure to measure a shift"
        elif sure:
            seen = f"shifted by {found.rows:+.0f} rows and {found.columns:+.0f} columns against {reference.file}"
        elif found.clarity >= _CLEAR:
            seen = (
                f"edges {found.rows:+.0f} rows and {found.columns:+.0f} columns beside those of {reference.file}, but "
                f"not everywhere alike: shadows, change, or a shift"
            )
        else:
            seen = f"no clear peak of correlation with {reference.file}"
        yield Finding(
            kind="pair-shift",
            severity="error" if sure else "undecided",
            file=image.file,
            seen=seen,
            expected=f"images of one sample to lie within {_SHIFT:g} pixels of each other",
            confidence=0.95 if sure else 0.3,
            remedy="register the two files, or leave the sample out (`--accept pair-shift` uses it as it is)",
        )


def _may_be_one_house(image: StoredImage, reference: StoredImage) -> bool:
    heights = [one.band for each in (image, reference) for one in each.bands if one.band.unit == "m"]
    fine = any((band.gsd_m or 0) < _FINE_GSD_M for band in heights)
    return fine and min(min(one.stored.shape) for each in (image, reference) for one in each.bands) < _HOUSE


def _detail(image: StoredImage) -> Array:
    """The finest band nearest to green or to VV, NaN where there is no data."""
    finest = max(one.stored.size for one in image.bands)
    bands = [one for one in image.bands if one.stored.size == finest]
    one = min(bands, key=lambda one: abs((one.band.wavelength_nm or 0) - 620))
    physical = np.asarray(one.physical(one.stored.astype(np.float64)))
    return np.where(one.valid, physical, np.nan)


def _averaged(image: Array, shape: tuple[int, int]) -> Array:
    """Means over the pixels of a coarser grid of the same extent."""
    for axis, (old, new) in enumerate(zip(image.shape, shape, strict=True)):
        if old != new:
            starts = (np.arange(new) * old) // new
            counts = np.diff(np.append(starts, old))
            image = np.add.reduceat(image, starts, axis=axis) / (counts[:, None] if axis == 0 else counts)
    return image


def _centre(image: Array) -> Array:
    h, w = (min(side, _CROP) for side in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    return image[top : top + h, left : left + w]


def _edges(image: Array) -> Array | None:
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
    faded: Array = (clipped - clipped.mean()) * window
    return faded


def _smoothed(image: Array) -> Array:
    """A 5 x 5 mean: the gradient of raw radar is speckle."""
    h, w = image.shape
    padded = np.pad(image, 2, mode="edge")
    rows = padded[:h] + padded[1 : h + 1] + padded[2 : h + 2] + padded[3 : h + 3] + padded[4:]
    mean: Array = (rows[:, :w] + rows[:, 1 : w + 1] + rows[:, 2 : w + 2] + rows[:, 3 : w + 3] + rows[:, 4:]) / 25
    return mean


def _lowpass(shape: tuple[int, ...], width: float) -> Array:
    """A Gaussian over the frequencies of `rfft2`."""
    rows, columns = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    weights: Array = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * width**2))
    return weights
