"""SpaceNet 2: WorldView-3 chips of Las Vegas, Paris, Shanghai and Khartoum, panchromatic and multispectral.

Van Etten, Lindenbaum & Bacastow, arXiv 1807.01232, 2018; spacenet.ai/spacenet-buildings-dataset-v2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from msgfm.data.layouts.listing import LayoutOptions, Listing, images_in, listed, load_cards, whole_file

_PRODUCTS = {"MUL": "worldview3", "PAN": "worldview3_pan", "MUL-PanSharpen": "worldview3@pansharpened"}


def list_spacenet2(root: Path, options: LayoutOptions) -> Listing:
    """`.../AOI_<n>_<city>[...]/{MUL,PAN,MUL-PanSharpen}/..._img<n>.tif`, any folders above.

    So both `SN2_buildings/train/AOI_2_Vegas/` and the archives' own `AOI_2_Vegas_Train/`. `MUL` (8 bands, 1.24 m,
    163 px) is `worldview3`, `PAN` (0.31 m, 650 px) `worldview3_pan`, a card of its own so that each can be read on its
    own grid, and the distributed `MUL-PanSharpen` (8 bands, 650 px) is `worldview3` in the role `pansharpened`. Splits
    are the official `train` and `test`, by the folder's name or one above it. Chips of a city's grid touch, and a scene
    is a chip. The building footprints (GeoJSON) are not read.
    """
    sensors = load_cards(("worldview3", "worldview3_pan"), options.sensors)
    chips: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for area in sorted(path for path in root.rglob("AOI_*") if path.is_dir()):
        for product in _PRODUCTS:
            for path in images_in(area / product):
                if match := re.search(r"_img(\d+)$", path.stem):
                    chips[area, match[1]][product] = path
    samples = []
    for (area, number), products in sorted(chips.items(), key=lambda item: (item[0][0], int(item[0][1]))):
        files = {
            key: [whole_file(root, products[product], sensors[key.partition("@")[0]].band_names)]
            for product, key in _PRODUCTS.items()
            if product in products
        }
        where = area.relative_to(root).as_posix()
        split = "test" if "test" in where.lower() else "train"
        samples.append(listed(f"{where}/img{number}", f"{where}/img{number}", files, split))
    return Listing(sensors=sensors, samples=samples)
