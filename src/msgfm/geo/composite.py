"""Bands of several files as one raster, for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from rasterio.io import MemoryFile

from msgfm.errors import InputError
from msgfm.geo.align import grid_of
from msgfm.geo.facts import RasterFacts
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network, gdal_name
from msgfm.geo.overview import OverviewSource
from msgfm.geo.raster import RasterInfo, gdal_type
from msgfm.geo.virtual import opening_lines, source_of

_ROUNDING = 1e-6  # of an extent, that edges may differ by


@dataclass(frozen=True, kw_only=True)
class BandOfFile:
    """One band of a composite.

    Args:
        name: what it is called.
        place: absolute path, or address.
        file_band: counted from 1.
        scale: value = stored * scale + offset; None: as the file says.
        offset: likewise.
        nodata: the stored number that means "no data"; None: as the file says.
    """

    name: str
    place: str
    file_band: int
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


class CompositeSource(OverviewSource):
    """Bands of several files of one extent, whose pixels may be of different sizes, as one raster.

    Args:
        place: what the files belong to: a folder, or a catalogue item.
        bands: at least one.
        headers: of their files.
        network: how patient to be.

    Raises:
        InputError: the files show different ground.
    """

    def __init__(
        self, place: str, bands: Sequence[BandOfFile], headers: Mapping[str, RasterInfo], network: Network
    ) -> None:
        self._files = tuple(dict.fromkeys(band.place for band in bands))
        grids = {file: grid_of(headers[file], file) for file in self._files}
        self._virtual = MemoryFile(_virtual_raster(bands, headers, grids).encode(), ext=".vrt")
        super().__init__(self._virtual.name, network)
        self.place = place

    def close(self) -> None:
        """Lets go of the files."""
        super().close()
        self._virtual.close()

    def facts(self) -> RasterFacts:
        """What the files say of themselves together."""
        form = f"{len(self._files)} file{'s' if len(self._files) > 1 else ''}"
        return replace(super().facts(), size=None, form=form, tags={})


def _virtual_raster(bands: Sequence[BandOfFile], headers: Mapping[str, RasterInfo], grids: Mapping[str, Grid]) -> str:
    finest = min(grids.values(), key=lambda grid: grid.pixel_height)
    for file, grid in grids.items():
        width, height = (grid.bounds[2] - grid.bounds[0]), (grid.bounds[3] - grid.bounds[1])
        apart = max(abs(a - b) for a, b in zip(grid.bounds, finest.bounds, strict=True))
        if grid.crs != finest.crs or (finest.crs and apart > _ROUNDING * max(width, height)):
            raise InputError(f"{file} shows other ground than the other bands; give the images one by one")
    lines = opening_lines(finest)
    for number, band in enumerate(bands, start=1):
        lines += _virtual_band(number, band, headers[band.place], finest)
    return "\n".join([*lines, "</VRTDataset>"])


def _virtual_band(number: int, band: BandOfFile, info: RasterInfo, finest: Grid) -> list[str]:
    kind, own = gdal_type(info.dtype), (info.scales[band.file_band - 1], info.offsets[band.file_band - 1])
    scale, offset = own if band.scale is None else (band.scale, band.offset or 0.0)
    nodata = info.nodata if band.nodata is None else band.nodata
    source = source_of(
        gdal_name(band.place),
        band.file_band,
        size=(info.height, info.width),
        kind=kind,
        block=info.block,
        shown=(finest.height, finest.width),
    )
    lines = [
        f'<VRTRasterBand dataType="{kind}" band="{number}">',
        f"<Description>{escape(band.name)}</Description>",
        *([] if nodata is None else [f"<NoDataValue>{nodata:.17g}</NoDataValue>"]),
        f"<Offset>{offset:.17g}</Offset><Scale>{scale:.17g}</Scale>",
        f"<ComplexSource>{source}",
        *([] if nodata is None else [f"<NODATA>{nodata:.17g}</NODATA>"]),
        "</ComplexSource></VRTRasterBand>",
    ]
    return lines
