"""What is written at every step: `log.csv`, TensorBoard and, by option, Weights & Biases."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from msgfm.config import Config
from msgfm.errors import InputError
from msgfm.files import write_atomically


class LogConfig(Config):
    """What is written while it runs; steps are optimiser steps.

    Args:
        every_steps: progress lines and TensorBoard points; `log.csv` has every step.
        picture_every_steps: predictions beside the truth; null draws them at the end alone.
        checkpoint_every_steps: checkpoints to resume from; one more is written at the end.
        keep_checkpoints: how many of the last are kept.
        tensorboard: whether event files are written.
        wandb_project: project on Weights & Biases (extra `wandb`); null does not log there.
    """

    every_steps: int = Field(default=20, ge=1)
    picture_every_steps: int | None = Field(default=1000, ge=1)
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    keep_checkpoints: int = Field(default=3, ge=1)
    tensorboard: bool = True
    wandb_project: str | None = None


class CsvLog:
    """One row per optimiser step, flushed as it comes; rows after the step resumed from are dropped."""

    def __init__(self, path: Path, columns: Sequence[str], start_step: int) -> None:
        kept = [row for row in read_log(path) if int(row["step"]) <= start_step] if path.is_file() else []
        with write_atomically(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(kept)
        self.path = path
        self._file = path.open("a", newline="")
        self._writer = csv.DictWriter(self._file, columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one step. Numbers are written with all their digits."""
        try:
            self._writer.writerow(row)
            self._file.flush()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}; free some space and --resume") from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, str]]:
    """The whole rows of a `log.csv`; a last row that a killed run left half written is not one."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]


class StepLogger:
    """Scalars of a step to every place that the recipe asks for."""

    def __init__(
        self,
        run: Path,
        config: LogConfig,
        columns: Sequence[str],
        start_step: int,
        recipe: Any,
        name: str = "",
    ) -> None:
        """Opens all places. On Weights & Biases the run is called `name`; without one, as its folder is."""
        self.config = config
        self._csv = CsvLog(run / "log.csv", columns, start_step)
        self._tensorboard = self._wandb = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(run / "tensorboard"), purge_step=start_step + 1)
        if config.wandb_project:
            self._wandb = _start_wandb(run, config.wandb_project, name or run.name, recipe)

    def write(self, row: Mapping[str, Any]) -> None:
        """One step; `row` has `step` and numbers, and `source` where there are several.

        Numbers with a group of their own (`val/accuracy`) are rare, and go to every place at once.
        """
        self._csv.write(row)
        step, source = int(row["step"]), row.get("source", "train")
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        if step % self.config.every_steps and step != 1:
            numbers = {key: value for key, value in numbers.items() if "/" in key}
        if self._tensorboard:
            for key, value in numbers.items():
                self._tensorboard.add_scalar(key if "->" in key or "/" in key else f"{source}/{key}", value, step)
        if self._wandb and numbers:
            self._wandb.log({key if "/" in key else f"{source}/{key}": v for key, v in numbers.items()}, step=step)

    def picture(self, path: Path, step: int) -> None:
        """Shows a picture file beside the curves."""
        if self._tensorboard:
            from matplotlib.image import imread

            self._tensorboard.add_image(path.stem.split("_")[0], imread(path), step, dataformats="HWC")
        if self._wandb:
            import wandb

            self._wandb.log({path.stem.split("_")[0]: wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Ends all of them."""
        self._csv.close()
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()


def require_loggers(config: LogConfig) -> None:
    """Raises `InputError` when the recipe asks for a place that is not installed."""
    if config.wandb_project and importlib.util.find_spec("wandb") is None:
        raise InputError("log.wandb_project needs Weights & Biases: pip install 'msgfm[wandb]'")


def _start_wandb(run: Path, project: str, name: str, recipe: Any) -> Any:
    import wandb

    return wandb.init(project=project, dir=str(run), name=name, id=name, resume="allow", config=recipe)
