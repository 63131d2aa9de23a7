"""Losses, schedule, windows and neighbours of fine-tuning, each against an independent definition."""

from __future__ import annotations

import hashlib
import itertools
import math
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgfm.data.tasks import Window
from msgfm.errors import InputError
from msgfm.models.tasks import Classification, Restoration, Segmentation
from msgfm.sensors import load_sensor
from msgfm.training.finetuning.build import set_training
from msgfm.training.finetuning.config import FinetuneOptimConfig, LossConfig
from msgfm.training.finetuning.losses import LossOfModel, TaskLoss, spectral_angle
from msgfm.training.finetuning.neighbours import weigh_neighbours
from msgfm.training.finetuning.plan import digest_of
from msgfm.training.finetuning.predicting import Predicted, join_windows
from msgfm.training.finetuning.schedule import learning_rate, make_optimizer
from msgfm.training.finetuning.scoring import value_range
from msgfm.training.finetuning.step import State
from msgfm.training.finetuning.train import is_better

ABC = ("a", "b", "c")


def test_cross_entropy_weighs_classes_and_ignores_what_is_not_labelled() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 4), torch.randint(-1, 3, (2, 5, 4))
    loss = TaskLoss(LossConfig(class_weights={"b": 4.0}), Segmentation(classes=ABC), None)
    total = weights = 0.0
    for value, label in zip(logits.permute(0, 2, 3, 1).reshape(-1, 3), target.flatten().tolist(), strict=True):
        if label >= 0:
            weight = 4.0 if label == 1 else 1.0
            total += weight * float(-value.log_softmax(0)[label])
            weights += weight
    assert float(loss(logits, target)) == pytest.approx(total / weights, rel=1e-5)


def test_a_batch_without_labels_has_a_loss_of_zero_and_gradients() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = TaskLoss(LossConfig(), Segmentation(classes=ABC), None)(logits, torch.full((1, 4, 4), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_and_focal_are_added_and_do_not_look_at_unlabelled_pixels() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    target[:, :2] = -1
    task = Segmentation(classes=ABC)
    plain = TaskLoss(LossConfig(), task, None)(logits, target)
    both = TaskLoss(LossConfig(dice=0.5, focal=2.0), task, None)(logits, target)
    probabilities, known = logits.softmax(1), target >= 0
    truth = F.one_hot(target.clamp_min(0), 3).permute(0, 3, 1, 2) * known[:, None]
    shared = (probabilities * truth).sum((0, 2, 3))
    dice = 1 - 2 * shared / ((probabilities * known[:, None]).sum((0, 2, 3)) + truth.sum((0, 2, 3)))
    assert float(both) > float(plain) + 0.5 * float(dice.mean()) - 1e-4
    changed = logits.clone()
    changed[:, :, :2] += 5
    assert float(TaskLoss(LossConfig(dice=0.5, focal=2.0), task, None)(changed, target)) == pytest.approx(float(both))


def test_several_labels_are_a_binary_cross_entropy_each() -> None:
    logits, target = torch.tensor([[0.3, -2.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    loss = TaskLoss(LossConfig(class_weights={"c": 3.0}), Classification(classes=ABC, multilabel=True), None)
    p = [1 / (1 + math.exp(-value)) for value in (0.3, -2.0, 1.0)]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + 3 * math.log(1 - p[2])) / 3
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


class Balanced(nn.Module):
    """A model of one parameter, which is its logit of the first class and what its mixtures are out of balance by."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.tensor(3.0))
        self.auxiliary = torch.zeros(())

    def forward(self, images: dict[str, Tensor]) -> Tensor:
        self.auxiliary = self.parameter**2
        return torch.stack([self.parameter, torch.zeros(())])[None].expand(len(images["x"]), 2)


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_balancing_of_mixtures_is_learnt_beside_the_task(weight: float) -> None:
    model = Balanced()
    losses = LossOfModel(model, LossConfig(auxiliary_weight=weight), Classification(classes=("a", "b")), None)
    found = losses({"x": torch.zeros(2, 1)}, torch.tensor([1, 1]))
    found.loss.backward()
    of_task, slope = math.log(1 + math.exp(3)), 1 / (1 + math.exp(-3))
    assert float(found.task) == pytest.approx(of_task)
    assert float(found.auxiliary) == 9
    assert float(found.loss.detach()) == pytest.approx(of_task + weight * 9)
    assert float(model.parameter.grad or 0) == pytest.approx(slope + weight * 6)


def test_a_weight_of_no_class_is_refused() -> None:
    with pytest.raises(InputError, match="no class 'd'; the classes are a, b, c"):
        TaskLoss(LossConfig(class_weights={"d": 2.0}), Segmentation(classes=ABC), None)


def test_restoration_is_measured_in_standard_deviations_where_there_is_data() -> None:
    card = load_sensor("sentinel1")
    prediction, target = torch.full((1, 2, 2, 2), -10.0), torch.full((1, 2, 2, 2), -12.0)
    target[0, 0, 0, 0] = torch.nan
    loss = TaskLoss(LossConfig(), Restoration(target={"sensor": "sentinel1"}), card)
    stds = [card.bands[0].std] * 3 + [card.bands[1].std] * 4
    assert float(loss(prediction, target)) == pytest.approx(np.mean([2 / std for std in stds if std]), rel=1e-5)


def test_restored_images_count_the_same_however_much_of_them_is_there() -> None:
    card = load_sensor("rgb")
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4) * torch.tensor(
        [float(band.std or 0) for band in card.bands]
    ).view(3, 1, 1)
    target[1, :, 1:] = torch.nan
    loss = TaskLoss(LossConfig(), Restoration(target={"sensor": "rgb"}), card)
    assert float(loss(prediction, target)) == pytest.approx((1 + 3) / 2)


def test_spectral_angle_is_that_of_the_arc_cosine_and_its_gradient_is_finite() -> None:
    torch.manual_seed(0)
    one, other = torch.rand(2, 4, 3, 3) + 0.1, torch.rand(2, 4, 3, 3) + 0.1
    other[0, 1, 0, 0] = torch.nan  # leaves one pixel out
    cosine = F.cosine_similarity(one, other, dim=1)
    angles = cosine.clamp(-1, 1).acos()
    expected = angles[cosine.isfinite()].mean()
    assert float(spectral_angle(one, other)) == pytest.approx(float(expected), rel=1e-4)
    same = one.clone().requires_grad_()
    spectral_angle(same, one).backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_the_rate_warms_up_to_its_peak_and_ends_at_its_least() -> None:
    config = FinetuneOptimConfig(lr=1.0, min_lr=0.1)
    rates = [learning_rate(config, step, 5.0, 25) for step in range(25)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert rates[15] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 10 / 19)))
    assert all(one >= other for one, other in itertools.pairwise(rates[4:]))


def test_rates_fall_from_layer_to_layer_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    model[1].requires_grad_(False)
    layers = [list(module.parameters()) for module in model]
    optimizer = make_optimizer(model, layers, FinetuneOptimConfig(layer_decay=0.5, weight_decay=0.1))
    found = [(g["scale"], g["weight_decay"], [p.shape for p in g["params"]]) for g in optimizer.param_groups]
    assert found == [(0.25, 0.1, [(2, 2)]), (0.25, 0.0, [(2,)]), (1.0, 0.1, [(1, 2)]), (1.0, 0.0, [(1,)])]


def test_frozen_modules_stay_in_evaluation() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    model[0].requires_grad_(False)
    set_training(model)
    assert [module.training for module in model.modules()] == [False, False, False, False, True, True, True]
    model.requires_grad_(True)
    set_training(model)
    assert all(module.training for module in model.modules())


def test_windows_are_put_together_as_they_were_cut() -> None:
    whole, height, width, size = torch.arange(7 * 9).view(7, 9), 7, 9, 4
    parts = []
    for row in (0, 3):
        for column in (0, 4, 5):
            piece = whole[row : row + size, column : column + size]
            predicted = Predicted(name=f"x#{row},{column}", output=piece, target=piece + 100, clouds=0.25)
            parts.append((Window(0, row, column, height, width), predicted))
    joined = join_windows(parts)
    assert torch.equal(joined.output, whole)
    assert torch.equal(joined.target, whole + 100)
    assert joined.name == "x"
    assert joined.clouds == 0.25


def test_what_fills_a_small_image_up_is_cut_off() -> None:
    piece = torch.arange(2 * 16).view(2, 4, 4).float()
    predicted = Predicted(name="small#1", output=piece, target=piece, clouds=math.nan)
    joined = join_windows([(Window(0, 0, 0, 3, 2), predicted)])
    assert torch.equal(joined.output, piece[:, :3, :2])
    assert joined.name == "small#1"


def test_neighbours_vote_by_their_likeness() -> None:
    bank: Tensor = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    query = torch.tensor([[1.0, 0.0]])
    shares = weigh_neighbours(query, bank, labels, 2)[0]
    votes = [math.exp(1 / 0.07), math.exp(float(bank[1, 0]) / 0.07)]  # DINO's temperature
    assert float(shares[0]) == pytest.approx(votes[0] / sum(votes), rel=1e-4)
    assert float(shares[1]) == pytest.approx(votes[1] / sum(votes), rel=1e-4)
    assert torch.equal(weigh_neighbours(query, bank, labels, 99), weigh_neighbours(query, bank, labels, 4))


def test_of_equal_validations_the_first_is_the_best() -> None:
    for metric in ("mae", "accuracy"):
        assert is_better(metric, 0.5, None)
        assert not is_better(metric, 0.5, 0.5)
    assert is_better("mae", 0.4, 0.5) and not is_better("mae", 0.6, 0.5)
    assert is_better("accuracy", 0.6, 0.5) and not is_better("accuracy", 0.4, 0.5)


def test_patience_counts_validations_since_the_best() -> None:
    state = State()
    for step, (score, better) in enumerate([(0.5, True), (0.4, False), (0.6, True), (0.6, False)], start=1):
        state.step = step
        state.note(score, better)
    assert (state.best_score, state.best_step, state.stale) == (0.6, 3, 1)
    again = State.from_checkpoint({"step": 4, "state": state.to_dict()})
    assert again == state


def test_weights_on_the_hub_are_told_by_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path))
    expected = hashlib.sha256(b"weights").hexdigest()
    assert digest_of(Path("some/model")) == digest_of(tmp_path) == expected
    assert digest_of(tmp_path / "model.safetensors") == expected
    assert digest_of(None) == ""


def test_errors_are_scaled_by_the_unit_of_the_target() -> None:
    assert value_range(load_sensor("sentinel2")) == (0, 1)
    assert value_range(load_sensor("rgb")) == (0, 1)
    assert value_range(load_sensor("dsm")) is None, "metres"
    landsat = load_sensor("landsat8")
    with pytest.raises(InputError, match=r"different units, B1, .* in reflectance; B10, B11 in W/.* 'landsat8:B1,"):
        value_range(landsat)
    assert value_range(landsat.select(["B4", "B3"])) == (0, 1)
