"""Weights as such: files read and written, what does not fit named, position biases brought to another window."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from msgfm.errors import InputError
from msgfm.files import write_atomically

WEIGHTS = "model.safetensors"

# What published files wrap their weights in; DINO keeps a student beside the teacher, which is the one to use.
_WRAPPERS = ("model", "state_dict", "teacher")


_CONFIG_DIGEST = "config_sha256"
"""In the metadata of `model.safetensors`; one key alone, as their order in the file is left to chance."""


def write_weights(model: nn.Module, folder: Path, *, config_digest: str | None = None) -> None:
    """Writes `model.safetensors` in one piece, with the digest of the configuration that goes with it."""
    with write_atomically(folder / WEIGHTS) as temporary:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(state, temporary, None if config_digest is None else {_CONFIG_DIGEST: config_digest})
            temporary.chmod(mode)  # safetensors leaves a file that its owner alone can read
        except SafetensorError as error:  # how a full disk shows here
            raise OSError(str(error)) from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Reads the `model.safetensors` of a model folder.

    Raises:
        InputError: not there, or damaged.
    """
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {folder / WEIGHTS}: {error}; copy or download it again") from error


def read_config_digest(folder: Path) -> str | None:
    """The digest that `write_weights` was given; None of weights of earlier versions.

    Raises:
        InputError: not there, or damaged.
    """
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return (file.metadata() or {}).get(_CONFIG_DIGEST)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {folder / WEIGHTS}: {error}; copy or download it again") from error


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads names and tensors of a safetensors or PyTorch file; the wrappers of published files are opened.

    Raises:
        InputError: no such file, not such a file, or one that holds more than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            _require_pytorch(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds Python objects beside its weights, which are not run here; where you trust it, keep its "
            f"tensors alone: torch.save(torch.load({path.name!r}, weights_only=False)['model'], 'weights.pth')"
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


def _require_pytorch(path: Path) -> None:
    """Refuses what is neither the archive that torch writes today nor the pickle of its first versions."""
    with path.open("rb") as file:
        if not file.read(2).startswith((b"PK", b"\x80")):
            raise InputError(f"{path} is no file of weights; give one of PyTorch, or one named *.safetensors")


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Loads weights that must fit exactly; `where` names their origin.

    Raises:
        InputError: a name or a shape differs; the first few are listed.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not in the model" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)}, the model has {shape}"
        for name, shape in own.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{where} holds the weights of another model: {'; '.join(problems[:5])}{more}")
    model.load_state_dict(dict(state))


def resize_window_bias(name: str, table: Tensor, window_size: int) -> Tensor:
    """Interpolates a relative position bias table to another window (bicubic, as SimMIM); other tensors pass.

    Args:
        name: parameter name; only `*.relative_position_bias_table` changes.
        table: ((2 w - 1)**2, heads) for window w.
        window_size: the new window.
    """
    if not name.endswith("relative_position_bias_table"):
        return table
    old, new = round(len(table) ** 0.5), 2 * window_size - 1
    if old == new or old**2 != len(table):  # a table of oblong windows has no place here
        return table
    grid = table.T.view(1, -1, old, old)
    resized = F.interpolate(grid.float(), size=(new, new), mode="bicubic", align_corners=False)
    return resized.view(-1, new * new).T.to(table.dtype).contiguous()
