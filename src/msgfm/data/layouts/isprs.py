"""ISPRS 2D semantic labelling: Vaihingen and Potsdam, true orthophotos with surface models and six classes.

Rottensteiner et al., ISPRS Annals I-3, 2012; www.isprs.org/education/benchmarks/UrbanSemLab. Training and test tiles
are the contest's, as in TorchGeo and mmsegmentation (whose splits GFM, and with it the paper, use).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgfm.data.layouts.listing import LayoutOptions, Listing, listed, load_cards, mask_file, whole_file
from msgfm.data.records import RasterFile
from msgfm.sensors import load_sensor

_CLASSES = {
    0: "clutter/background",
    1: "impervious surfaces",
    2: "building",
    3: "low vegetation",
    4: "tree",
    5: "car",
}
_COLOURS = {0: (255, 0, 0), 1: (255, 255, 255), 2: (0, 0, 255), 3: (0, 255, 255), 4: (0, 255, 0), 5: (255, 255, 0)}
_VAIHINGEN_TEST = (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)
_POTSDAM_TEST = (
    *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15"),
    *("6_13", "6_14", "6_15", "7_13"),
)
# Where the truth of a tile may lie: as the contest's archives unpack side by side, or in folders of their own.
_VAIHINGEN_LABELS = ("", "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE", "gts_for_participants")
_POTSDAM_LABELS = ("", "5_Labels_all", "5_Labels_for_participants")
_POTSDAM_IMAGES = {
    "rgbir": (("4_Ortho_RGBIR", "RGBIR", (1, 2, 3, 4)),),
    "rgb": (("4_Ortho_RGBIR", "RGBIR", (1, 2, 3)), ("2_Ortho_RGB", "RGB", (1, 2, 3))),
    "irrg": (("4_Ortho_RGBIR", "RGBIR", (4, 1, 2)), ("3_Ortho_IRRG", "IRRG", (1, 2, 3))),
}


def list_vaihingen(root: Path, options: LayoutOptions) -> Listing:
    """`top/top_mosaic_09cm_area<n>.tif`, `dsm/dsm_09cm_matching_area<n>.tif`, truth `top_mosaic_09cm_area<n>.tif`.

    The truth lies at the root, as the two archives of the contest unpack, or in
    `ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE` or `gts_for_participants` below it. Images are near
    infrared, red and green at 9 cm (card `irrg`); `--sensor rgb` reads them as if they were red, green and blue, as
    the paper does. Surface models are in metres (`dsm`). A tile is a scene; 16 train, 17 test.
    """
    image = _image_card(options, ("irrg", "rgb"))
    sensors = load_cards((image, "dsm"), options.sensors)
    samples = []
    for path in sorted((root / "top").glob("top_mosaic_09cm_area*.tif")):
        tile = path.stem.removeprefix("top_mosaic_09cm_area")
        if not tile.isdigit():
            continue
        surface = root / "dsm" / f"dsm_09cm_matching_area{tile}.tif"
        files = {
            image: [whole_file(root, path, sensors[image].band_names)],
            "dsm": [whole_file(root, surface, sensors["dsm"].band_names)] if surface.is_file() else [],
        }
        truth = _first_file(root / folder / path.name for folder in _VAIHINGEN_LABELS)
        mask = mask_file(root, truth, colours=True) if truth else None
        split = "test" if int(tile) in _VAIHINGEN_TEST else "train"
        samples.append(listed(f"area{tile}", f"area{tile}", files, split, mask=mask))
    return Listing(sensors=sensors, samples=samples, mask_classes=_CLASSES, mask_colours=_COLOURS)


def list_potsdam(root: Path, options: LayoutOptions) -> Listing:
    """`4_Ortho_RGBIR/top_potsdam_<r>_<c>_RGBIR.tif`, `1_DSM/dsm_potsdam_<rr>_<cc>.tif`, and the truth.

    The truth, `top_potsdam_<r>_<c>_label.tif`, lies at the root, in `5_Labels_all` or in
    `5_Labels_for_participants`. Images are red, green, blue and near infrared at 5 cm (card `rgbir`); with
    `--sensor rgb` or `--sensor irrg` three of them, from `4_Ortho_RGBIR` or from `2_Ortho_RGB` and `3_Ortho_IRRG`.
    Surface models are in metres. A tile is a scene; 24 train, 14 test.
    """
    image = _image_card(options, tuple(_POTSDAM_IMAGES))
    sensors = load_cards((image, "dsm"), options.sensors)
    folder, suffix, file_bands = next(
        (source for source in _POTSDAM_IMAGES[image] if (root / source[0]).is_dir()), _POTSDAM_IMAGES[image][0]
    )
    samples = []
    for path in sorted((root / folder).glob(f"top_potsdam_*_{suffix}.tif")):
        tile = path.stem.removeprefix("top_potsdam_").removesuffix(f"_{suffix}")
        row, _, column = tile.partition("_")
        surface = root / "1_DSM" / f"dsm_potsdam_{row.zfill(2)}_{column.zfill(2)}.tif"
        name = path.relative_to(root).as_posix()
        files = {
            image: [RasterFile(path=name, bands=sensors[image].band_names, file_bands=file_bands)],
            "dsm": [whole_file(root, surface, sensors["dsm"].band_names)] if surface.is_file() else [],
        }
        truth = _first_file(root / place / f"top_potsdam_{tile}_label.tif" for place in _POTSDAM_LABELS)
        mask = mask_file(root, truth, colours=True) if truth else None
        samples.append(listed(tile, tile, files, "test" if tile in _POTSDAM_TEST else "train", mask=mask))
    return Listing(sensors=sensors, samples=samples, mask_classes=_CLASSES, mask_colours=_COLOURS)


def _image_card(options: LayoutOptions, names: tuple[str, ...]) -> str:
    """The card that the pictures are read with: the one of these that was given, or else the first."""
    given = [load_sensor(card).name for card in options.sensors]
    return next((name for name in given if name in names), names[0])


def _first_file(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
