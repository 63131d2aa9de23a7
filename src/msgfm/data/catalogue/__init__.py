"""From a STAC catalogue to a data set: finds items that coincide, reads windows of their images, writes pairs.

`search` asks the catalogue, `items` reads the answers (with `storage`: what their stored numbers mean), `match` finds
what coincides, `places` lays the grid, `fetch` reads and writes, `collect` does it all.
"""

from msgfm.data.catalogue.collect import Collected, Found, collect, find_coincidences
from msgfm.data.catalogue.request import CatalogueRequest

__all__ = ["CatalogueRequest", "Collected", "Found", "collect", "find_coincidences"]
