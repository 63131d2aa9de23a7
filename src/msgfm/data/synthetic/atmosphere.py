"""The air between ground and satellite: molecules, haze, water vapour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msgfm.data.synthetic.conditions import Conditions
from msgfm.data.synthetic.fields import Array

_AEROSOL_DEPTH = 0.12  # optical depth at 550 nm of a clear continental day
_ANGSTROM = 1.3  # exponent of continental aerosol
_LOWEST_SUN = 0.6  # sine of the elevation below which single scattering promises too much light


@dataclass(frozen=True, kw_only=True)
class Air:
    """Effect on each band: top of atmosphere = molecules + haze * aerosol + transmission * surface.

    Args:
        molecules: reflectance of the clean air, (bands,).
        aerosol: reflectance of the haze, (bands,); at 1375 nm of thin ice cloud.
        transmission: of the way down and up, (bands,).
    """

    molecules: Array
    aerosol: Array
    transmission: Array


def air(windows: tuple[tuple[int, int], ...], conditions: Conditions) -> Air:
    """Single scattering in a plane-parallel atmosphere, seen from straight above.

    The optical depth of the molecules is that of Hansen and Travis (Space Science Reviews 16, 1974), their phase
    function 3/4 (1 + cos^2); aerosol depth falls as wavelength ** -1.3 (Angstrom) and scatters back 0.2 of the
    isotropic. Light that is scattered forward is not lost: half of the molecules' depth and a sixth of the aerosol's
    weaken the surface (Gordon et al., Applied Optics 22, 1983; Tanre et al., Applied Optics 18, 1979). Ozone takes a
    few per cent from green and red. The vapour bands at 945 and 1375 nm follow the square root of the vapour on the
    path, as strong lines do; nothing of the ground is left at 1375 nm, where thin ice cloud shows instead.

    Args:
        windows: lower and upper wavelength of each band in nm.
        conditions: sun, haze, vapour, cirrus.
    """
    edges = np.array(windows, np.float64)
    centre_nm = edges.mean(axis=1)
    micrometres = centre_nm / 1000
    sun = max(float(np.sin(conditions.sun_elevation)), _LOWEST_SUN)
    path = 1 + 1 / sun
    rayleigh = 0.008569 * micrometres**-4 * (1 + 0.0113 * micrometres**-2 + 0.00013 * micrometres**-4)
    aerosol = _AEROSOL_DEPTH * (micrometres / 0.55) ** -_ANGSTROM
    phase = 0.75 * (1 + sun**2)  # the scattering angle is 90 degrees and the sun's elevation
    ozone = np.interp(centre_nm, (450, 560, 610, 720), (1, 0.955, 0.945, 1))
    vapour = np.zeros_like(centre_nm)
    for centre, strength, reach_nm in ((945.0, 0.68, 40.0), (1373.0, 6.0, 60.0)):
        inside = (edges[:, 0] < centre + reach_nm) & (edges[:, 1] > centre - reach_nm)
        share = np.minimum(1, 2 * reach_nm / (edges[:, 1] - edges[:, 0])) ** 2
        vapour += np.where(inside, strength * share * np.sqrt(conditions.vapour_cm * path), 0)
    ice = np.where(np.abs(centre_nm - 1373) < 50, conditions.cirrus, 0)
    lost = (0.5 * rayleigh + aerosol * conditions.haze / 6) * path
    return Air(
        molecules=(1.1 * phase * rayleigh / (4 * sun)).astype(np.float32),
        aerosol=(0.2 * aerosol / (4 * sun) * np.exp(-vapour) + ice).astype(np.float32),
        transmission=(np.exp(-lost - vapour) * ozone).astype(np.float32),
    )
