"""Classification without training: the labels of the nearest training images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.data.tasks import TaskDataset
from msgfm.models.downstream import DownstreamModel
from msgfm.models.tasks import Classification
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predictor

TEMPERATURE = 0.07
"""Of the neighbours' weights (Wu et al. 2018; Caron et al. 2021, DINO)."""
_CERTAIN = 1e-6


def with_neighbours(plan: Plan, model: DownstreamModel, predictor: Predictor) -> Predictor:
    """A predictor that looks training images up by their features, seen as in evaluation."""
    task = plan.model.task
    assert isinstance(task, Classification)

    def embed(images: Mapping[str, Tensor]) -> Tensor:
        return F.normalize(model.features(images)[-1].float().mean(dim=(2, 3)), dim=1)

    features, labels = [], []
    for one in replace(predictor, predict=embed).over(_as_evaluated(plan.data.train), "features of training images"):
        features.append(one.output)
        labels.append(one.target)
    bank = torch.stack(features).to(predictor.device)
    known = torch.stack(labels) if task.multilabel else F.one_hot(torch.stack(labels), len(task.classes)).float()
    known = known.to(predictor.device)

    def predict(images: Mapping[str, Tensor]) -> Tensor:
        shares = weigh_neighbours(embed(images), bank, known, plan.config.neighbours)
        return shares.logit(_CERTAIN) if task.multilabel else shares.clamp_min(_CERTAIN).log()

    return replace(predictor, predict=predict)


def weigh_neighbours(queries: Tensor, bank: Tensor, labels: Tensor, k: int) -> Tensor:
    """The share of each class among the k nearest, (B, K): each counts by exp(cosine / temperature).

    Args:
        queries: (B, D) of length 1.
        bank: (N, D) of length 1.
        labels: (N, K) 0 or 1.
        k: how many; all where there are fewer.
    """
    nearest = (queries @ bank.T).topk(min(k, len(bank)), dim=1)
    weights = (nearest.values / TEMPERATURE).softmax(dim=1)
    return torch.einsum("bn,bnk->bk", weights, labels[nearest.indices])


def _as_evaluated(train: TaskDataset) -> TaskDataset:
    """The training images without random changes; one that is classified is one window in either case."""
    still = copy.copy(train)
    still.training = False
    still.size = train.config.evaluated_size
    return still
