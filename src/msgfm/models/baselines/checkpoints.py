"""Weights from files: read without running what a pickle might hold, names brought to the model's, shapes checked."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from msgfm.errors import InputError

# What published files wrap their weights in; DINO keeps a student beside the teacher, which is the one to use.
_WRAPPERS = ("model", "state_dict", "teacher")


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a file brought.

    Args:
        loaded: parameters of the encoder that were filled.
        new: parameters of the encoder that keep their random start.
        unused: names in the file that have no place in the encoder (classification heads, decoders, projections).
        bands: per input band, the band of the file whose kernel it starts from; empty where it starts from the mean.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    bands: Mapping[str, str]

    def describe(self) -> list[str]:
        """One line for the whole, one for each kind of band that has no kernel of its own."""
        lines = [f"{len(self.loaded)} tensors loaded, {len(self.new)} new, {len(self.unused)} of the file unused"]
        if alone := [band for band, donor in self.bands.items() if not donor]:
            lines.append(f"{', '.join(alone)}: the file's mean kernel")
        others = [
            f"{band} as {donor}" for band, donor in self.bands.items() if donor and not band.endswith(f" {donor}")
        ]
        return [*lines, f"kernels by wavelength: {', '.join(others)}"] if others else lines


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads names and tensors of a safetensors or PyTorch file; the wrappers of published files are opened.

    Raises:
        InputError: no such file, not such a file, or one that holds more than tensors and plain values.
    """
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no file of weights, or holds Python objects beside them, which are not run here; where you "
            f"trust it, keep its tensors alone: torch.save(torch.load({path.name!r}, weights_only=False)['model'], "
            f"'weights.pth')"
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise InputError(f"cannot read weights {path}: {error}") from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no tensors by name; it holds {type(content).__name__}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def find_prefix(state: Mapping[str, Tensor], anchor: str, own: Mapping[str, Tensor]) -> str:
    """What stands before the names of one encoder in a file (`module.encoder_q.`, `backbone.`, nothing).

    Args:
        state: names and tensors of the file.
        anchor: a name that every such encoder has, that of its first convolution's kernel.
        own: names of the model. Of several encoders in a file, that with the most of them counts, then the first.

    Raises:
        InputError: no name ends with `anchor`.
    """
    prefixes = [name.removesuffix(anchor) for name in state if name == anchor or name.endswith(f".{anchor}")]
    if not prefixes:
        raise InputError(
            f"the weights have no {anchor}, so they are of another kind of encoder; their names start with "
            f"{', '.join(list(state)[:3])}"
        )
    return max(prefixes, key=lambda prefix: sum(f"{prefix}{name}" in state for name in own))
