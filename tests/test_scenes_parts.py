"""Parts of a result: how a scene is cut, what is left to do, rows collected into parts, plans compared."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from msgfm.errors import InputError
from msgfm.geo.tiling import Area
from msgfm.scenes.engine import Piece
from msgfm.scenes.parts import (
    Collector,
    area_of,
    cut_parts,
    has_begun,
    missing_runs,
    open_parts,
    parts_beside,
    publish,
    remove_parts,
    staged,
)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (100, 4096), (5000, 4097), (10980, 10980), (70, 30000)])
@pytest.mark.parametrize("pixel", [1, 26, 4000])
def test_parts_cover_the_scene_once_and_are_bounded(height, width, pixel):
    stripes = cut_parts(height, width, pixel)
    covered = 0
    for stripe in stripes:
        assert stripe[0].top == 0
        assert stripe[-1].bottom == height
        assert area_of(stripe).shape == (height, stripe[0].right - stripe[0].left)
        for above, below in itertools.pairwise(stripe):
            assert above.bottom == below.top
        for part in stripe:
            rows, columns = part.shape
            covered += rows * columns
            assert columns <= 4096
            assert rows <= 64 or rows * columns * pixel <= 32 * 2**20
            assert part.left % 512 == 0
    assert covered == height * width


def test_runs_of_what_is_missing_follow_each_other_and_are_split_for_workers():
    stripes = cut_parts(8192, 8192, 1)
    parts = [part for stripe in stripes for part in stripe]
    done = {parts[2], parts[3], parts[9]}
    runs = missing_runs(stripes, done.__contains__, 1)
    assert sorted(str(part) for run in runs for part in run) == sorted(str(p) for p in parts if p not in done)
    assert [len(run) for run in runs] == [2, 4, 1, 6]
    assert all(a.bottom == b.top and a.left == b.left for run in runs for a, b in itertools.pairwise(run))
    split = missing_runs(stripes, done.__contains__, 9)
    assert len(split) == 9
    assert sum(map(len, split)) == 13
    assert len(missing_runs(stripes, done.__contains__, 99)) == 13
    assert missing_runs(stripes, lambda part: True, 4) == []


def test_rows_are_collected_into_parts_whatever_their_number():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (2, 50, 7)).astype(np.uint8)
    run = [Area(top=top, bottom=bottom, left=0, right=7) for top, bottom in ((3, 20), (20, 21), (21, 50))]
    written = {}
    collector = Collector(
        run,
        lambda piece: {"a": piece.values.astype(np.uint8), "b": piece.valid[None]},
        lambda part, arrays: written.update({part: arrays}),
    )
    top = 3
    for rows in (1, 0, 30, 2, 14):
        area = Area(top=top, bottom=top + rows, left=0, right=7)
        values = image[:, top : top + rows].astype(np.float32)
        collector.add(Piece(area=area, values=values, valid=values[0] > 100))
        top += rows
    assert list(written) == run
    for part, arrays in written.items():
        assert (arrays["a"] == image[:, part.top : part.bottom]).all()
        assert (arrays["b"] == (image[:1, part.top : part.bottom] > 100)).all()


def test_a_run_that_was_stopped_is_gone_on_with_only_when_asked_and_with_the_same_plan(tmp_path):
    out = tmp_path / "result.tif"
    folder = open_parts(out, ["result"], {"model": "a", "window": 192}, resume=False)
    part = Area(top=0, bottom=5, left=0, right=5)
    assert not folder.has(part)
    folder.file("result", part).write_bytes(b"x")
    assert folder.has(part)
    with pytest.raises(InputError, match="--resume"):
        open_parts(out, ["result"], {"model": "a", "window": 192}, resume=False)
    with pytest.raises(InputError, match="window was 192, is 96"):
        open_parts(out, ["result"], {"model": "a", "window": 96}, resume=True)
    (parts_beside(out) / ".half.tif.1.tmp").write_bytes(b"x")
    assert open_parts(out, ["result"], {"model": "a", "window": 192}, resume=True).has(part)
    assert not list(parts_beside(out).glob(".*.tmp"))
    remove_parts(out)
    assert not parts_beside(out).exists()
    assert open_parts(out, ["result"], {"model": "b"}, resume=True).path == parts_beside(out)


def test_a_damaged_plan_is_told(tmp_path):
    out = tmp_path / "result.tif"
    open_parts(out, ["result"], {"model": "a"}, resume=False)
    (parts_beside(out) / "result_0000000_0000000.tif").write_bytes(b"x")
    (parts_beside(out) / "plan.json").write_text(json.dumps([1])[:2])
    with pytest.raises(InputError, match="--overwrite"):
        open_parts(out, ["result"], {"model": "a"}, resume=True)


def test_parts_without_their_plan_are_of_nobody_knows_what(tmp_path):
    out, part = tmp_path / "result.tif", Area(top=0, bottom=5, left=0, right=5)
    folder = open_parts(out, ["result"], {"model": "a"}, resume=False)
    folder.file("result", part).write_bytes(b"x")
    (parts_beside(out) / "plan.json").unlink()  # killed while it was thrown away
    assert not open_parts(out, ["result"], {"model": "b"}, resume=True).has(part)


def test_a_run_that_had_finished_nothing_is_begun_anew(tmp_path):
    out = tmp_path / "result.tif"
    open_parts(out, ["result"], {"model": "a"}, resume=False)
    assert not has_begun(out)
    open_parts(out, ["result"], {"model": "b"}, resume=False)
    assert json.loads((parts_beside(out) / "plan.json").read_text()) == {"model": "b"}


def test_a_result_is_moved_to_its_place_last_and_the_plan_goes_after_the_parts(tmp_path, monkeypatch):
    out, order = tmp_path / "result.tif", []
    folder = open_parts(out, ["result"], {"model": "a"}, resume=False)
    folder.file("result", Area(top=0, bottom=5, left=0, right=5)).write_bytes(b"x")
    staged(out).parent.mkdir()
    for name in ("result.tif", "result_entropy.tif", "result.json", "aside.qml"):
        staged(out).with_name(name).write_text(name)
    replace, unlink = Path.replace, Path.unlink

    def noted(path, *more, **options):
        order.append(path.name)
        return (replace if more else unlink)(path, *more, **options)

    monkeypatch.setattr(Path, "replace", noted)
    monkeypatch.setattr(Path, "unlink", noted)
    publish(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("aside.qml", "result.json", "result.tif", "result_entropy.tif"),
    ]
    assert out.read_text() == "result.tif"
    assert order.index("result.tif") == 3
    assert order[-1] == "plan.json"
