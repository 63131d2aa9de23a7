"""When and how a scene is looked at: the day, the sun, the air, the radar's path. Shared by all sensors of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msgfm.data.synthetic.fields import Random

SEASONS = ("spring", "summer", "fall", "winter")
_MIDDLE_DAY = {"spring": 115, "summer": 190, "fall": 275, "winter": 20}
_MORNING = -22.5  # hour angle in degrees, half past ten local solar time: the Sentinel-2 orbit
_SURVEY_ELEVATION = np.radians(42)  # photographs are taken when shadows are short


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the renderings of one date have in common.

    Args:
        season: of `SEASONS`, northern hemisphere.
        day: of the year.
        sun_azimuth: radians, clockwise from north.
        sun_elevation: radians above the horizon.
        wetness: rain of the last days, mean 0; positive is wet.
        haze: aerosol against a clear continental day (1).
        vapour_cm: water vapour in the column, as centimetres of rain.
        cirrus: reflectance of the thin ice cloud that is nearly always there.
        radar_azimuth: direction in which the radar looks, radians clockwise from north.
        radar_incidence: angle from the vertical at the scene's centre on level ground, radians.
        wind_db: what the wind adds to the radar return of water.
    """

    season: str
    day: int
    sun_azimuth: float
    sun_elevation: float
    wetness: float
    haze: float
    vapour_cm: float
    cirrus: float
    radar_azimuth: float
    radar_incidence: float
    wind_db: float


def draw_conditions(rng: Random, season: str | None = None, *, survey: bool = False) -> Conditions:
    """Draws a date between 30 and 50 degrees north, and how it is seen.

    The sun's declination is Cooper's (Solar Energy 12, 1969); its elevation and azimuth follow for half past ten,
    or for the hours around noon if it is a `survey` flight, which also waits for a high sun.
    Sentinel-1 looks right from an orbit inclined by 98 degrees, so about east when it ascends and west when it
    descends, at 29 to 46 degrees across the wide swath (ESA, Sentinel-1 Product Specification).
    """
    while True:
        drawn = season or SEASONS[int(rng.integers(4))]
        day = int(_MIDDLE_DAY[drawn] + rng.integers(-35, 36)) % 365 + 1
        hour_angle = rng.uniform(-15, 15) if survey else _MORNING
        azimuth, elevation = sun_position(day, np.radians(rng.uniform(30, 50)), np.radians(hour_angle))
        if season or not survey or elevation > _SURVEY_ELEVATION:
            break
    vapour = {"winter": 0.15, "summer": 0.6}.get(drawn, 0.35)  # logarithm of centimetres
    return Conditions(
        season=drawn,
        day=day,
        sun_azimuth=azimuth,
        sun_elevation=elevation,
        wetness=float(rng.normal(-0.3, 0.35)),
        haze=float(np.exp(rng.normal(0.1, 0.2))),
        vapour_cm=float(np.exp(rng.normal(vapour, 0.3))),
        cirrus=float(0.002 * np.exp(rng.normal(0, 0.4))),
        radar_azimuth=float(np.radians(rng.choice((80.0, 280.0)) + rng.uniform(-3, 3))),
        radar_incidence=float(np.radians(rng.uniform(30, 45))),
        wind_db=float(rng.normal(0, 2.5)),
    )


def sun_position(day: int, latitude: float, hour_angle: float = np.radians(_MORNING)) -> tuple[float, float]:
    """Azimuth (clockwise from north) and elevation on a day of the year; radians, the hour angle is 0 at noon."""
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    elevation = np.arcsin(sine)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle)
    return float(np.arctan2(east, north) % (2 * np.pi)), float(elevation)
