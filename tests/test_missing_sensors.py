"""What stands in for a missing sensor: what a pretrained model predicts of it."""

from __future__ import annotations

import pytest
import torch
from small_downstream import photograph
from small_downstream import pretrained as pretrained_on

from msgfm.errors import InputError
from msgfm.models.inputs import InputImage
from msgfm.sensors import load_sensor
from msgfm.training.finetuning.missing import fill_in, require_fillable


def test_a_missing_image_is_predicted_from_one_of_its_own_date() -> None:
    inputs = [
        InputImage(sensor=sensor, role=role, bands=("B", "G") if sensor == "rgb" else None)
        for role in ("before", "after")
        for sensor in ("sentinel1", "rgb")
    ]
    cards = [load_sensor("sentinel1"), load_sensor("rgb")]
    model = pretrained_on("rgb", "sentinel1").eval()
    given = {f"sentinel1@{role}": photograph(cards[0], seed=seed) for seed, role in enumerate(("before", "after"))}
    given["sentinel1@after"][0, :, 3:7, 5] = torch.nan
    given["sentinel1@after"][0, 0, 9, 9] = torch.nan  # the other band was seen
    with torch.no_grad():
        filled = fill_in(inputs, cards, ("rgb@before", "rgb@after"), model)(given)
        for role in ("before", "after"):
            radar, found = given[f"sentinel1@{role}"], filled[f"rgb@{role}"]
            expected = model.reconstruct({"sentinel1": radar}, "sentinel1", "rgb")[:, [2, 1]]
            expected[radar.isnan().all(1, keepdim=True).expand_as(expected)] = torch.nan
            torch.testing.assert_close(found, expected, equal_nan=True)
    assert int(filled["rgb@after"].isnan().sum()) == 2 * 4
    assert all(torch.equal(filled[key], image) for key, image in given.items() if not image.isnan().any())


def test_what_fills_in_has_the_units_of_the_model() -> None:
    inputs = [InputImage(sensor="sentinel1"), InputImage(sensor="rgb", bands=("B", "G"))]
    cards = [load_sensor("sentinel1"), load_sensor("rgb")]
    require_fillable(inputs, cards, pretrained_on("sentinel1", "rgb"))
    in_dn = load_sensor("rgb").with_setting("G.unit", "DN")
    with pytest.raises(InputError, match="sensor rgb, band G: the model has the unit 1, that of --fill DN"):
        require_fillable(inputs, cards, pretrained_on("sentinel1", in_dn))
    with pytest.raises(InputError, match="--fill: the pretrained model has no sensor 'rgb'"):
        require_fillable(inputs, cards, pretrained_on("sentinel1"))
