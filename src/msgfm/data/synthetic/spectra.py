"""Spectra of what the ground is made of, and the bands that sensors see of them.

The reflectances are round numbers inside the ranges of the ECOSTRESS spectral library (Meerdink et al., RSE 230, 2019;
soils, roofs, pavement, leaves) and, for closed canopies, of PROSAIL (Jacquemoud et al., RSE 113, 2009); they are not
copied from any one table. A band is the mean of the spectrum over the band's window (a box for a response).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from msgfm.data.synthetic.fields import Array

WAVELENGTHS_NM = (400, 443, 490, 560, 600, 665, 705, 740, 783, 842, 865, 945, 1040, 1375, 1610, 2200)
_SPECTRA = {
    "clear water": (25, 30, 28, 25, 18, 15, 12, 8, 7, 6, 5, 4, 3, 2, 3, 2),
    "turbid water": (50, 60, 75, 105, 98, 85, 75, 45, 40, 32, 28, 20, 14, 5, 10, 6),
    "pale soil": (95, 120, 155, 205, 230, 260, 285, 305, 322, 340, 348, 356, 366, 370, 420, 365),
    "red soil": (36, 45, 55, 85, 115, 150, 180, 200, 220, 240, 255, 260, 272, 290, 330, 290),
    "green leaves": (20, 25, 32, 72, 52, 38, 100, 320, 410, 435, 455, 450, 455, 300, 220, 105),
    "straw": (45, 60, 80, 125, 148, 170, 200, 245, 270, 300, 320, 330, 335, 320, 330, 230),
    "broadleaf": (13, 16, 20, 43, 31, 23, 68, 220, 280, 300, 315, 310, 312, 200, 135, 58),
    "needleleaf": (10, 12, 15, 29, 23, 18, 42, 125, 160, 175, 185, 185, 186, 120, 75, 32),
    "bare branches": (30, 38, 46, 66, 76, 88, 105, 130, 145, 160, 168, 175, 185, 170, 180, 125),
    "asphalt": (75, 80, 90, 100, 105, 110, 115, 120, 125, 130, 135, 135, 138, 140, 150, 140),
    "paving": (130, 150, 180, 215, 228, 240, 250, 260, 265, 270, 275, 275, 280, 280, 300, 280),
    "tiles": (42, 50, 60, 90, 140, 190, 230, 260, 280, 300, 310, 320, 330, 340, 370, 350),
    "slate": (82, 90, 100, 110, 113, 115, 120, 125, 130, 135, 140, 140, 143, 150, 160, 155),
    "metal": (340, 370, 400, 415, 420, 425, 430, 430, 430, 430, 430, 420, 420, 400, 390, 360),
}  # thousandths
# Saturated soil against dry: darker, and most of all where water absorbs (Lobell and Asner, SSSA Journal 66, 2002).
_WET_SOIL = (0.58, 0.58, 0.57, 0.56, 0.55, 0.55, 0.55, 0.54, 0.53, 0.52, 0.52, 0.48, 0.48, 0.30, 0.38, 0.30)

ENDMEMBERS = (*_SPECTRA, "wet pale soil", "wet red soil")

# Lower and upper edge, nm. Sentinel-2A: centre and width of the MSI technical guide (ESA).
SENTINEL2_WINDOWS = {
    "B01": (432, 453),
    "B02": (459, 525),
    "B03": (542, 578),
    "B04": (649, 680),
    "B05": (697, 712),
    "B06": (733, 748),
    "B07": (773, 793),
    "B08": (780, 886),
    "B8A": (854, 876),
    "B09": (935, 955),
    "B10": (1358, 1389),
    "B11": (1569, 1658),
    "B12": (2114, 2290),
}
# DigitalGlobe, WorldView-3 data sheet.
WORLDVIEW3_WINDOWS = {
    "COASTAL": (400, 450),
    "BLUE": (450, 510),
    "GREEN": (510, 580),
    "YELLOW": (585, 625),
    "RED": (630, 690),
    "REDEDGE": (705, 745),
    "NIR1": (770, 895),
    "NIR2": (860, 1040),
}
PAN_WINDOW = (450, 800)
CAMERA_WINDOWS = {"R": (580, 680), "G": (490, 590), "B": (420, 510), "NIR": (770, 890)}


@lru_cache(maxsize=8)
def band_spectra(windows: tuple[tuple[int, int], ...]) -> Array:
    """Reflectance of each endmember in each band: (bands, endmembers)."""
    spectra = {name: np.array(values, np.float64) / 1000 for name, values in _SPECTRA.items()}
    for soil in ("pale soil", "red soil"):
        spectra[f"wet {soil}"] = spectra[soil] * _WET_SOIL
    table = np.array(
        [
            [np.interp(np.linspace(*window, 41), WAVELENGTHS_NM, spectra[name]).mean() for name in ENDMEMBERS]
            for window in windows
        ],
        np.float32,
    )
    table.setflags(write=False)
    return table


def pan_weights() -> dict[str, float]:
    """Share of each WorldView-3 band in PAN: how much of PAN's window its own covers, as weights that add up to 1.

    The usual reading of a panchromatic band in pan-sharpening (Aiazzi et al., IEEE TGRS 45, 2007); the gaps between
    the bands count with their neighbours.
    """
    low, high = PAN_WINDOW
    widths = {name: max(0, min(high, end) - max(low, start)) for name, (start, end) in WORLDVIEW3_WINDOWS.items()}
    total = sum(widths.values())
    return {name: width / total for name, width in widths.items()}
