"""Class maps of `msgfm predict`: their type by the number of classes, names, colours, no data."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from scene_commands import invoke, read
from scene_data import backscatter, write
from small_downstream import describe

from msgfm.display import class_colour
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained


@pytest.mark.parametrize(
    ("classes", "dtype", "nodata"), [(255, "uint8", 255), (256, "uint16", 65535), (300, "uint16", 65535)]
)
def test_however_many_classes_there_are_none_is_taken_for_another_or_for_no_data(tmp_path, classes, dtype, nodata):
    """The model predicts the last class everywhere."""
    names = [f"kind {i}" for i in range(classes)]
    rule = {"kind": "rule", "rule": "class_prior", "prior": [0.5 / (classes - 1)] * (classes - 1) + [0.5]}
    task = {"kind": "segmentation", "classes": names}
    save_pretrained(DownstreamModel(describe(task, ["sentinel1"], backbone=rule)), tmp_path / "model")
    radar = backscatter(70, 90)
    radar[:, :20, :30] = np.nan
    write(tmp_path / "s1.tif", radar, names=["VV", "VH"])
    out = tmp_path / "map.tif"
    invoke("predict", tmp_path / "model", "--sentinel1", tmp_path / "s1.tif", "--window", 32, "--out", out)
    empty = np.isnan(radar[0])
    assert (read(out)[0] == np.where(empty, nodata, classes - 1)).all()
    with rasterio.open(out) as source:
        assert (source.dtypes[0], source.nodata) == (dtype, nodata)
        assert source.tags()[f"class_{classes - 1}"] == names[-1]
        assert source.colormap(1)[classes - 1] == (*class_colour(classes - 1), 255)
    assert cog_validate(out, strict=True, quiet=True)[0]
