"""How good pan-sharpening is at full resolution, where there is no truth."""

from __future__ import annotations

from dataclasses import replace

from msgfm.data.tasks import FULL_RESOLUTION, FullResolution
from msgfm.metrics import SharpeningMetrics
from msgfm.training.finetuning.outcome import write_split
from msgfm.training.finetuning.plan import Plan
from msgfm.training.finetuning.predicting import Predicted, Predictor
from msgfm.training.finetuning.results import SplitScores, split_scores


class FullResolutionScorer:
    """Takes in predictions in the order of the samples, and judges them by the images as they are stored."""

    def __init__(self, full: FullResolution) -> None:
        self._full = full
        self._all = SharpeningMetrics()
        self._images = 0

    def add_and_score(self, predicted: Predicted) -> dict[str, float]:
        """Counts an image, and scores it by itself."""
        coarse, pan = self._full.read(self._images)
        self._all.update(predicted.output[None], coarse[None], pan[None])
        self._images += 1
        return {name: values[-1] for name, values in self._all.scores.items()}

    def scores(self) -> SplitScores:
        """The metrics of all images so far."""
        return split_scores(self._all.compute(), self._images)


def evaluate_full_resolution(plan: Plan, split: str, predictor: Predictor) -> dict[str, SplitScores]:
    """Predicts a split at full resolution, and writes scores and predictions into the run's folder.

    Its windows cover the ground of those at reduced resolution, so batches hold as many fewer of them.

    Args:
        plan: of the run.
        split: the name of the samples' split.
        predictor: of the run's model.

    Returns:
        The scores by name (`test_full_resolution`); empty where this is no pan-sharpening.
    """
    full = plan.data.full_resolution
    if full is None:
        return {}
    size, reduced = full.dataset.size, plan.config.data.evaluated_size
    if size is not None and reduced is not None:
        predictor = replace(predictor, batch_size=max(1, round(predictor.batch_size * (reduced / size) ** 2)))
    name = f"{split}{FULL_RESOLUTION}"
    return {name: write_split(plan, name, full.dataset, predictor, FullResolutionScorer(full))}
