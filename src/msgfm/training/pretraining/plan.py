"""What a run does, as it follows from its recipe and data: directions, steps, learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgfm.config import config_to_dict
from msgfm.data.mixture import MixtureOrder, Source
from msgfm.models.msgfm import Direction, MsGFMConfig
from msgfm.training.optim import learning_rate
from msgfm.training.pretraining.config import PretrainConfig
from msgfm.training.pretraining.sources import agree_on_sensors


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a run that follows from its recipe and data.

    Args:
        config: the recipe.
        sources: the mixture.
        model: the model's configuration, with the sensors of the data.
        order: which samples the batches hold.
    """

    config: PretrainConfig
    sources: tuple[Source, ...]
    model: MsGFMConfig
    order: MixtureOrder

    @property
    def turns(self) -> int:
        """Sources per optimiser step: one in turn, or all of them."""
        return len(self.sources) if self.config.mixture.schedule == "joint" else 1

    @property
    def batches_per_step(self) -> int:
        """Batches per optimiser step and rank."""
        return self.turns * self.config.hardware.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in which every source is seen whole at least once."""
        return self.order.rounds_per_epoch * len(self.sources) // self.turns

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the run."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def directions(self) -> list[Direction]:
        """All predictions that a batch can ask for, own first."""
        found = {
            Direction(i, j): None for source in self.sources for i in source.sensors for j in source.sensors if i == j
        }
        if self.config.mixture.cross_sensor_share > 0:
            found |= {Direction(i, j): None for source in self.sources for i in source.sensors for j in source.sensors}
        return list(found)

    def source_of(self, step: int) -> Source | None:
        """The source of a step (counted from 0); None is all of them."""
        return None if self.turns > 1 else self.sources[step % len(self.sources)]

    def lr(self, step: int) -> float:
        """The learning rate of a step (counted from 0)."""
        source = self.source_of(step)
        base = source.lr if source else max(source.lr for source in self.sources)
        round_ = step if self.turns > 1 else step // len(self.sources)
        return learning_rate(self.config.optim, base, round_ / self.order.rounds_per_epoch)

    def weight(self, source: int) -> float:
        """Share of a source's loss in the loss of a step that it takes part in."""
        sizes = self.order.batch_sizes
        return sizes[source] / sum(sizes) if self.turns > 1 else 1.0

    def shaping(self) -> dict[str, Any]:
        """The settings that shape every step; resuming asks for the same. More epochs only add steps."""
        config = config_to_dict(self.config)
        shaping: dict[str, Any] = {key: config[key] for key in ("seed", "image_size", "optim", "mixture", "init_from")}
        shaping["model"] = config_to_dict(self.model)
        shaping["hardware"] = {key: config["hardware"][key] for key in ("precision", "accumulate")}
        shaping["devices"] = self.order.world_size
        shaping["sources"] = {
            source.name: {
                "lr": source.lr,
                "batch_size": source.batch_size,
                "jitter": source.jitter,
                "samples": source.digest,
            }
            for source in self.sources
        }
        shaping["order"] = [source.name for source in self.sources]
        return shaping


def make_plan(config: PretrainConfig, sources: Sequence[Source], world_size: int) -> Plan:
    """Puts recipe and data together."""
    return Plan(
        config=config,
        sources=tuple(sources),
        model=MsGFMConfig(sensors=agree_on_sensors(sources), **dict(config.model)),
        order=MixtureOrder(
            [len(source) for source in sources],
            [source.batch_size for source in sources],
            seed=config.seed,
            world_size=world_size,
            accumulate=config.hardware.accumulate,
            block=config.mixture.shuffle_block,
            window=config.mixture.shuffle_window,
        ),
    )
