"""What a file says of itself, as HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from msgfm.geo.facts import BandFacts, RasterFacts
from msgfm.geo.network import without_secrets

_MANY_BANDS = 6  # beyond which the table of bands is folded
_LONGEST_TAG = 300  # characters of a tag's value that are shown
_OF_BANDS = {"name": "", "scale": "1", "offset": "0", "unit": ""}  # columns that are left out where all say this


def describe_file(label: str, facts: RasterFacts) -> str:
    """A file's header: where it lies, how large it is, how it is stored, its bands and tags."""
    place = without_secrets(facts.place)
    rows = {
        "file": place if facts.size is None else f"{place} ({_bytes(facts.size)})",
        "format": facts.form,
        "size": f"{facts.width} x {facts.height} pixels",
        "coordinates": crs_in_words(facts) or "none",
    }
    if facts.crs:
        a, b, left, d, e, top = facts.transform
        rows["pixel"] = f"{number(abs(a))} x {number(abs(e))} {facts.crs_unit}{', rotated' if b or d else ''}"
        rows["upper left"] = f"x {number(left, 12)}, y {number(top, 12)}"
    rows["blocks"] = f"{facts.block[1]} x {facts.block[0]} pixels"
    rows["overviews"] = ", ".join(f"1:{factor}" for factor in facts.overviews) or "none"
    table = "".join(f'<tr><th scope="row">{key}</th><td>{escape(value)}</td></tr>' for key, value in rows.items())
    tags = {key: value for key, value in facts.tags.items() if key != "AREA_OR_POINT"}
    for i, band in enumerate(facts.bands, start=1):
        tags |= {f"band {i}: {key}": value for key, value in band.tags.items()}
    return (
        f'<article class="file"><h3>{escape(label)}</h3><table>{table}</table>{_bands(facts.bands)}{_tags(tags)}'
        f"</article>"
    )


def crs_in_words(facts: RasterFacts) -> str:
    """As `WGS 84 / UTM zone 33N (EPSG:32633)`; empty where there is none."""
    if not facts.crs:
        return ""
    title = "a CRS without a name" if facts.crs_title in ("", "unnamed", "unknown") else facts.crs_title
    return f"{title} ({facts.crs})" if re.fullmatch(r"\w+:\w+", facts.crs) else title


def number(value: float, digits: int = 4) -> str:
    """With so many digits that count, without an exponent where it can be had."""
    text = f"{value:.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits}g}"
    return text.replace("nan", "NaN")


def _bytes(size: int) -> str:
    power = min(len(str(size)) - 1, 11) // 3
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def _bands(bands: Sequence[BandFacts]) -> str:
    rows = [
        {
            "band": str(i),
            "name": band.name,
            "type": band.dtype,
            "no data": "none" if band.nodata is None else number(band.nodata, 10),
            "scale": number(band.scale, 10),
            "offset": number(band.offset, 10),
            "unit": band.unit,
        }
        for i, band in enumerate(bands, start=1)
    ]
    kept = [key for key in rows[0] if any(row[key] != _OF_BANDS.get(key) for row in rows)]
    head = "".join(f'<th scope="col">{key}</th>' for key in kept)
    body = "".join(f"<tr>{''.join(f'<td>{escape(row[key])}</td>' for key in kept)}</tr>" for row in rows)
    return (
        f"<details{' open' if len(bands) <= _MANY_BANDS else ''}>"
        f"<summary>{len(bands)} band{'s' if len(bands) > 1 else ''}</summary>"
        f'<div class="scroll"><table class="bands"><tr>{head}</tr>{body}</table></div></details>'
    )


def _tags(tags: Mapping[str, str]) -> str:
    if not tags:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(_cut(value))}</td></tr>' for key, value in tags.items()
    )
    return (
        f"<details><summary>{len(tags)} tag{'s' if len(tags) > 1 else ''}</summary>"
        f'<div class="scroll"><table>{body}</table></div></details>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TAG else f"{text[:_LONGEST_TAG]}…"
