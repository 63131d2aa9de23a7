"""Does `msgfm data check` name what is wrong? Seeded corruptions of real images, a table by kind.

    python benchmarks/input_contract.py FOLDER [--seed 0]

FOLDER holds the real images (tests/conftest.py). `named`: the error has the right kind, and there is no other;
`undecided`: no error, but the kind is reported as undecided, with the file; `missed`: neither; `misnamed`: another
error.
`mended`: of the cases whose finding names an option, those that it mends: applied, the finding is gone.
`held out`: cases whose original had no part in fitting the relations between bands or the weights of colours.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from real_images import (
    CARDS,
    Array,
    Original,
    harmonised,
    heights,
    pictures,
    rebuilt,
    sentinel1,
    sentinel2,
    stacked,
)

from msgfm.data.checks import Finding, StoredImage, check_image
from msgfm.data.checks.duplicates import Duplicates, Origin, fingerprint
from msgfm.data.checks.pairs import shift_findings
from msgfm.data.checks.pooled import SETTLED, Pool
from msgfm.data.checks.sample import examine_image
from msgfm.data.layouts.listing import SENTINEL2_L1C as L1C
from msgfm.data.layouts.listing import SENTINEL2_L2A as L2A
from msgfm.data.layouts.listing import change_cards
from msgfm.sensors import load_sensor

GROUPED = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09", "B10")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A corrupted image, and what the checker should call it.

    Args:
        row: of the table.
        kinds: of findings, any of which names it.
        findings: what the checker said.
        mended: as `mends`, where a remedy can be tried on a single image.
        held_out: whether its original had no part in fitting relations between bands or weights of colours.
    """

    row: str
    kinds: tuple[str, ...]
    findings: tuple[Finding, ...]
    held_out: bool
    mended: bool | None = None

    @property
    def verdict(self) -> str:
        """`named`, `undecided`, `missed` or `misnamed`."""
        errors = [one for one in self.findings if one.severity == "error"]
        right = [one for one in self.findings if one.kind in self.kinds]
        if any(one.kind not in self.kinds for one in errors):
            return "misnamed"
        if any(one.severity != "undecided" for one in right):
            return "named"
        return "undecided" if right else "missed"


def mends(image: StoredImage, kinds: Sequence[str], findings: Iterable[Finding]) -> bool | None:
    """Whether the option that a finding names mends it; None where none names one."""
    first = next((one for one in findings if one.kind in kinds and one.severity == "error"), None)
    if first is None or not first.remedy.startswith("--"):
        return None
    left = check_image(apply_remedy(image, first.remedy))
    return not any(one.severity == "error" and one.kind in kinds for one in left)


def apply_remedy(image: StoredImage, remedy: str) -> StoredImage:
    """The image as it would be read with the remedy's options."""
    words = shlex.split(remedy)
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    sensor = change_cards({image.sensor.name: image.sensor}, settings)[image.sensor.name]
    names, stored = list(image.names), [one.stored for one in image.bands]
    if match := re.match(r"--sensor \w+:([\w,]+)=PATTERN(?:@([\d,]+))?", remedy):
        names = match.group(1).split(",")
        stored = [stored[int(place) - 1] for place in match.group(2).split(",")] if match.group(2) else stored
    return rebuilt(image, sensor, names, stored)


def case(row: str, kinds: str | Iterable[str], image: StoredImage, original: Original) -> Case:
    """Checks one image."""
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    findings = tuple(check_image(image))
    mended = mends(image, kinds, findings)
    return Case(row=row, kinds=kinds, findings=findings, held_out=original.held_out, mended=mended)


def reflectance_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Scale, 8 bits, bands that are empty, constant or too many."""
    for original in originals:
        physical = [one.physical(one.stored.astype(np.float64)) for one in original.image.bands]
        yield case("DN under a card for fractions", "dn-as-reflectance", original.on(scale=1.0), original)
        fractions = [values.astype(np.float32) for values in physical]
        yield case("fractions under a card for DN", "reflectance-as-dn", original.changed(fractions), original)
        bright = rng.uniform(0.25, 1.0)
        quick = [np.clip(np.round(values / bright * 255), 0, 255).astype(np.uint8) for values in physical]
        yield case("8-bit quick-look as reflectance", "eight-bit", original.changed(quick), original)
        which = int(rng.integers(len(physical)))
        flat = [np.full_like(v, 1234) if i == which else v for i, v in enumerate(original.stored)]
        yield case("constant band", "constant-band", original.changed(flat), original)
        empty = [
            np.full_like(v, one.band.nodata) if i == which else v
            for i, (v, one) in enumerate(zip(original.stored, original.image.bands, strict=True))
        ]
        yield case("empty band", "empty-band", original.changed(empty), original)


def offset_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """The 1000 of baseline 04.00."""
    for original in originals:
        offset = original.image.sensor.bands[0].offset
        if offset:
            yield case("offset still in", "offset-present", original.on(offset=0.0), original)
        else:
            added = [values + np.array(1000, values.dtype) for values in original.stored]
            yield case("offset still in", "offset-present", original.changed(added), original)
        yield case("offset taken away twice", "offset-removed-twice", original.on(offset=offset - 1000), original)
        cut = [np.maximum(v.astype(np.int32) + int(offset) - 1000, 0).astype(np.uint16) for v in original.stored]
        plain = original.on(offset=0.0)
        image = rebuilt(plain, plain.sensor, plain.names, cut)
        yield case("offset taken away twice, cut at 0", "offset-removed-twice", image, original)
    for level in ("sentinel2", "sentinel2_l2a"):
        group = [one for one in originals if one.image.sensor.name == level and not one.image.bands[0].band.offset]
        for _ in range(5):
            chosen = set(rng.choice(len(group), size=int(rng.integers(1, len(group) // 2 + 1)), replace=False).tolist())
            images = [
                one.changed([v + np.array(1000, v.dtype) for v in one.stored]) if i in chosen else one.image
                for i, one in enumerate(group)
            ]
            findings = judge_source(images)
            yield Case(
                row="offset mixed within a source",
                kinds=("offset-mixed", "offset-present"),
                findings=tuple(findings),
                held_out=False,
            )


def judge_source(images: Sequence[StoredImage]) -> list[Finding]:
    """As `check_manifest` does, without files."""
    sensor = images[0].sensor
    pool, found = Pool({sensor.name: sensor}), []
    for image in images:
        seen, evidence = examine_image(image)
        source = pool.add({sensor.name: evidence})[sensor.name]
        found += [(replace(one, image=sensor.name), source) for one in seen]
    judgement = pool.judge()
    kept = (judgement.judge(one, source) if one.kind in SETTLED else one for one, source in found)
    return [*(one for one in kept if one is not None), *judgement.findings]


def order_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Bands in another order than they are said to be."""
    for original in originals:
        names = list(original.image.names)
        count = len(names)
        orders = {"bands reversed": names[::-1], "bands shuffled": [names[i] for i in rng.permutation(count)]}
        red, blue = ("B04", "B02") if "B04" in names else ("red", "blue")
        swapped = {red: blue, blue: red}
        orders["red and blue of reflectance exchanged"] = [swapped.get(name, name) for name in names]
        if count > 7:
            orders["B8A last, as in EuroSAT"] = [*(name for name in L1C if name in names and name != "B8A"), "B8A"]
            orders["10 m, 20 m, 60 m bands grouped"] = [name for name in GROUPED if name in names]
        for row, order in orders.items():
            of_name = dict(zip(names, original.stored, strict=True))
            listed = [name for name in (L1C if count > 7 else original.image.sensor.band_names) if name in names]
            if order == listed:
                continue
            image = rebuilt(original.image, original.image.sensor, listed, [of_name[name] for name in order])
            yield case(row, "band-order", image, original)


def radar_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Unit, polarisation, no-data."""
    for original in originals:
        linear = [(10 ** (values / 10)).astype(np.float32) for values in original.stored]
        yield case("linear power as dB", "linear-power", original.changed(linear), original)
        amplitude = [np.sqrt(values) for values in linear]
        yield case("linear amplitude as dB", "linear-power", original.changed(amplitude), original)
        power = load_sensor("sentinel1")
        linear_unit = {"unit": "power", "valid_range": (0.0, 100.0), "mean": None, "std": None}
        power = power.model_copy(update={"bands": tuple(b.model_copy(update=linear_unit) for b in power.bands)})
        yield case(
            "dB as linear power",
            "decibel",
            rebuilt(original.image, power, original.image.names, original.stored),
            original,
        )
        yield case("VV and VH exchanged", "polarisation-swapped", original.changed(original.stored[::-1]), original)
        stretched = []
        for values in original.stored:
            low, high = np.nanquantile(values, (0.01, 0.99))
            stretched.append(np.nan_to_num(np.clip((values - low) / (high - low) * 255, 0, 255)).astype(np.uint8))
        yield case("8-bit radar picture as dB", "eight-bit", original.changed(stretched), original)
        for row, number, kind in (
            ("-9999 undeclared", -9999.0, "no-data-mark"),
            ("NaN border", np.nan, "nan-border"),
            ("border of 0 dB", 0.0, "no-data-border"),
        ):
            single = [values.astype(np.float32) for values in original.stored]
            yield case(row, kind, original.changed(bordered(single, number, rng)), original)


def bordered(stored: Sequence[Array], number: float, rng: np.random.Generator) -> list[Array]:
    """The image with an oblique strip at its left set to a number, as at the edge of a swath."""
    slope, share = rng.uniform(-0.3, 0.3), rng.uniform(0.05, 0.4)
    found = []
    for values in stored:
        rows, columns = (np.arange(side)[:, None] / side for side in values.shape)
        found.append(np.where(share + slope * (rows - 0.5) > columns.T, np.array(number, values.dtype), values))
    return found


def picture_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Red and blue, black borders."""
    for original in originals:
        swapped = original.changed(original.stored[::-1])
        yield case("RGB picture as BGR", "rgb-order", swapped, original)
        yield case(
            "black border undeclared", "no-data-border", original.changed(bordered(original.stored, 0, rng)), original
        )
    for _ in range(10):
        chosen = rng.choice(len(originals), size=40, replace=False)
        findings = judge_source([originals[i].changed(originals[i].stored[::-1]) for i in chosen])
        held_out = all(originals[i].held_out for i in chosen)
        yield Case(
            row="source of 40 RGB pictures as BGR",
            kinds=("rgb-order",),
            findings=tuple(findings),
            held_out=held_out,
        )


def height_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Centimetres, marks of no data."""
    for original in originals:
        centimetres = [np.where(v == -9999, v, np.round(v.astype(np.float64) * 100)) for v in original.stored]
        yield case("heights in centimetres", "centimetres", original.changed(centimetres), original)
        single = [values.astype(np.float32) for values in original.stored]
        yield case("-32767 undeclared", "no-data-mark", original.changed(bordered(single, -32767, rng)), original)


def border_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Reflectance with the highest number outside."""
    for original in originals:
        wide = [values.astype(np.uint16) for values in original.stored]
        yield case(
            "border of 65535 undeclared",
            ("no-data-border", "no-data-mark"),
            original.changed(bordered(wide, 65535, rng)),
            original,
        )


def pair_cases(data: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Shifted partners, and the same pixels under two names."""
    first, second = (load_sensor(CARDS / f"ombria_{name}.yaml") for name in ("s1", "s2"))
    for part, held_out in (("train", False), ("test", True)):
        for path in sorted((data / "OMBRIA" / "OmbriaS1" / part / "BEFORE").glob("*.png"))[:23]:
            other = Path(str(path).replace("S1", "S2"))
            pair = [
                stacked(path, first, first.band_names, held_out=held_out),
                stacked(other, second, second.band_names, held_out=held_out),
            ]
            yield shifted_case(pair, rng)
    card1, card2 = load_sensor("sentinel1"), load_sensor("sentinel2_l2a")
    for path in sorted((data / "TerraMesh" / "S1RTC").glob("*.tif")):
        other = path.parent.parent / "S2L2A" / path.name
        yield shifted_case(
            [stacked(path, card1, ("VV", "VH"), held_out=False), stacked(other, card2, L2A, held_out=False)], rng
        )


def shifted_case(pair: Sequence[Original], rng: np.random.Generator) -> Case:
    """Another window of the second image: 6 to 20 pixels away."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(6, 20)
    down, right = round(length * np.sin(angle)), round(length * np.cos(angle))

    def window(values: Array, row: int, column: int) -> Array:
        h, w = values.shape
        return values[20 + row : h - 20 + row, 20 + column : w - 20 + column]

    here = pair[0].changed([window(values, 0, 0) for values in pair[0].stored])
    there = pair[1].changed([window(values, down, right) for values in pair[1].stored])
    findings = tuple(shift_findings([here, there]))
    return Case(
        row="partner shifted by 6 to 20 pixels",
        kinds=("pair-shift",),
        findings=findings,
        held_out=pair[0].held_out,
    )


def duplicate_cases(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Case]:
    """Among all images, one twice: in one split or in two."""
    for k in range(20):
        twice = originals[int(rng.integers(len(originals)))]
        split = "val" if k % 2 else "train"
        kind = "duplicate-across-splits" if k % 2 else "duplicate"
        images = [*(one.image for one in originals), twice.image]
        origins = [Origin(sample=str(i), split="train", key="rgb", file=one.file) for i, one in enumerate(images)]
        origins[-1] = replace(origins[-1], split=split)
        duplicates = Duplicates(origins.__getitem__)
        prints = enumerate(fingerprint(image) for image in images)
        found = [duplicates.add(i, one) for i, one in prints if one is not None]
        yield Case(
            row=f"copy in {'another' if k % 2 else 'the same'} split",
            kinds=(kind,),
            findings=tuple(one for one in found if one is not None),
            held_out=twice.held_out,
        )


def all_cases(data: Path, seed: int = 0) -> Iterator[Case]:
    """Every corruption of every image."""
    rng = np.random.default_rng(seed)
    calibrated, radar, rgb, dsm = sentinel2(data), sentinel1(data), pictures(data), heights(data)
    yield from reflectance_cases([*calibrated, *harmonised(data)], rng)
    yield from offset_cases(calibrated, rng)
    yield from order_cases([*calibrated, *harmonised(data)], rng)
    yield from border_cases(calibrated, rng)
    yield from radar_cases(radar, rng)
    yield from picture_cases(rgb, rng)
    yield from height_cases(dsm, rng)
    yield from pair_cases(data, rng)
    yield from duplicate_cases(rgb, rng)


def table(cases: Iterable[Case]) -> str:
    """Markdown, a row for each corruption."""
    rows: dict[str, list[Case]] = defaultdict(list)
    for one in cases:
        rows[one.row].append(one)
        rows["all"].append(one)
    rows["all"] = rows.pop("all")
    lines = [
        "| corruption | cases | held out | named | undecided | missed | misnamed | mended |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row, of_it in rows.items():
        verdicts = [one.verdict for one in of_it]
        mended = [one.mended for one in of_it]
        counts = " | ".join(str(verdicts.count(name)) for name in ("named", "undecided", "missed", "misnamed"))
        held_out, tried = sum(one.held_out for one in of_it), sum(one is not None for one in mended)
        lines.append(f"| {row} | {len(of_it)} | {held_out} | {counts} | {sum(map(bool, mended))} of {tried} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(table(all_cases(arguments.folder, arguments.seed)))


if __name__ == "__main__":
    main()
