"""The shares of the classes in the training labels, for the rule that predicts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import torch
from torch import Tensor

from msgfm.data.tasks import TaskData
from msgfm.data.tasks.targets import Labels
from msgfm.models.baselines.rules import RuleBackbone, class_prior
from msgfm.models.tasks import Classification, Restoration
from msgfm.progress import track
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.predicting import InOrder
from msgfm.training.loading import load_batches


def with_class_prior(config: FinetuneConfig, data: TaskData) -> FinetuneConfig:
    """The recipe with the classes' shares, where its backbone is the rule that needs them and has none.

    Labels of images are counted in the manifest; those of pixels on the squares of the first epoch.
    """
    backbone = config.backbone
    if not isinstance(backbone, RuleBackbone) or backbone.rule != "class_prior" or backbone.prior:
        return config
    if isinstance(config.task, Restoration):
        return config  # refused where the model is built
    prior = class_prior(_targets(config, data), len(data.classes))
    return config.model_copy(update={"backbone": backbone.model_copy(update={"prior": prior})})


def _targets(config: FinetuneConfig, data: TaskData) -> Iterator[Tensor]:
    """Labels of the training samples, a batch at a time."""
    if isinstance(config.task, Classification):
        labels = Labels(classes=data.classes, multilabel=config.task.multilabel)
        for sample in data.train.samples:
            yield torch.from_numpy(labels.of_image(sample))[None]
        return
    order = InOrder(data.train, range(len(data.train)), config.batch_size)
    with closing(load_batches(data.train, order, config.hardware.num_workers)) as batches:
        for batch in track(batches, "counting classes", len(order)):
            yield batch.target
