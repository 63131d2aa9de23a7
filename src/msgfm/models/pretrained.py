"""Weights in and out: folders of `model.safetensors` + `config.json`, and encoders from SimMIM, GFM and timm.

No pickle is read here. Weights load strictly; what a foreign checkpoint did not bring is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import msgfm
from msgfm.config import config_from_dict, config_to_dict
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.swin import EncoderConfig

FORMAT_VERSION = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_pretrained(model: MsGFM, folder: Path) -> None:
    """Writes `model.safetensors`, then `config.json`, each in one piece."""
    header = {"format_version": FORMAT_VERSION, "msgfm": msgfm.__version__, "model": config_to_dict(model.config)}
    with write_atomically(folder / WEIGHTS) as temporary:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        try:
            save_file(state, temporary)
        except SafetensorError as error:  # how a full disk shows here
            raise OSError(str(error)) from error
    with write_atomically(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(header, indent=1))


def load_model_config(folder: Path) -> MsGFMConfig:
    """Reads the `config.json` of a model folder.

    Raises:
        InputError: not there, not JSON, or of another format version.
    """
    path = folder / CONFIG
    try:
        header = json.loads(path.read_text())
        version, model = header["format_version"], header["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no msgfm model: cannot use {path} ({error})") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{path} has format version {version}, this msgfm reads {FORMAT_VERSION}; update msgfm")
    return config_from_dict(MsGFMConfig, model, str(path))


def from_pretrained(folder: str | Path, *, window_size: int | None = None) -> MsGFM:
    """Loads a pretrained model, in evaluation mode on the CPU.

    Args:
        folder: a local folder, or the name of a repository on the Hugging Face hub (`owner/name`).
        window_size: another attention window, for other image sizes; the position bias is interpolated.

    Raises:
        InputError: no such folder or repository, or weights that are not those of its `config.json`.
    """
    path = Path(folder)
    if not path.is_dir():
        path = _download(str(folder))
    config = load_model_config(path)
    try:
        state = load_file(path / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path / WEIGHTS}: {error}; copy or download it again") from error
    if window_size is not None:
        encoder = config_to_dict(config.encoder) | {"window_size": window_size}
        config = config.model_copy(update={"encoder": config_from_dict(EncoderConfig, encoder, "from_pretrained")})
        state = {name: resize_window_bias(name, tensor, window_size) for name, tensor in state.items()}
    model = MsGFM(config)
    load_strictly(model, state, str(path / WEIGHTS))
    return model.eval()


def load_strictly(model: MsGFM, state: Mapping[str, Tensor], where: str) -> None:
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


def _download(name: str) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or Path(name).parent.is_dir():
        raise InputError(f"no folder {name}; give the folder that `msgfm pretrain` wrote, or owner/name on the hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG]))
    # the hub's errors are one or the other, and so is a network that is not there
    except (OSError, ValueError) as error:
        raise InputError(f"no local folder {name}, and the hub did not give it: {error}") from error


def push_to_hub(folder: Path, repo_id: str, *, private: bool = False) -> str:
    """Uploads a model folder to the Hugging Face hub; returns the address of the commit."""
    from huggingface_hub import HfApi

    load_model_config(folder)  # refuse to publish what nobody could load
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=[WEIGHTS, CONFIG, "run.json"]))


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


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What a foreign checkpoint brought.

    Args:
        loaded: parameters of ours that were filled.
        new: parameters of ours that keep their random start.
        interpolated: of the loaded, those resized to another window.
        unused: names in the checkpoint that have no place here.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    interpolated: tuple[str, ...]
    unused: tuple[str, ...]


# buffers that both sides compute anew
_DERIVED = re.compile(r"(relative_position_index|relative_coords_table|attn_mask)$")


def import_simmim(
    state_dict: Mapping[str, Any], config: MsGFMConfig, *, sensor: str = "rgb"
) -> tuple[MsGFM, ImportReport]:
    """Builds a model whose encoder starts from SimMIM, GFM, official Swin or timm Swin weights.

    Args:
        state_dict: names to tensors; the wrappers `model` and `state_dict` of published files are opened.
        config: the model to build. Blocks that are mixtures here keep their random experts.
        sensor: whose embedding and decoder the checkpoint's are; used where kind and shape fit (`strided`).

    Returns:
        The model, and the report of what was loaded, new, interpolated and unused.

    Raises:
        InputError: a tensor of the encoder has another shape, or nothing fits at all.
    """
    for wrapper in ("model", "state_dict"):
        if isinstance(state_dict.get(wrapper), Mapping):
            state_dict = state_dict[wrapper]
    model = MsGFM(config)
    own = model.state_dict()
    embeds_alike = config.patch_embed.kind == "strided"  # parts of one kind would fit the other, but mean nothing there
    merging_at_end = any(re.search(r"layers\.0\.downsample\.", name) for name in state_dict)
    loaded, interpolated, unused = {}, [], []
    for name, tensor in state_dict.items():
        if _DERIVED.search(name):
            continue
        target = _our_name(name, sensor, merging_at_end)
        if target not in own or (target.startswith("patch_embed.") and not embeds_alike):
            unused.append(name)
            continue
        fitted = resize_window_bias(target, tensor, config.encoder.window_size)
        if target == "mask_token":
            fitted = fitted.flatten()
        if fitted.shape != own[target].shape:
            if target.startswith("encoder."):
                raise InputError(
                    f"{name} has shape {tuple(tensor.shape)}, {target} of the encoder {tuple(own[target].shape)}; "
                    f"choose embed_dim, depths and num_heads of the checkpoint"
                )
            unused.append(name)
            continue
        if target.endswith("relative_position_bias_table") and fitted.shape != tensor.shape:
            interpolated.append(target)
        loaded[target] = fitted
    if not any(name.startswith("encoder.") for name in loaded):
        raise InputError(f"no Swin encoder in this checkpoint; its names start with {', '.join(list(state_dict)[:3])}")
    with torch.no_grad():
        model.load_state_dict(own | loaded)
    new = tuple(name for name in own if name not in loaded)
    return model, ImportReport(loaded=tuple(loaded), new=new, interpolated=tuple(interpolated), unused=tuple(unused))


def _our_name(name: str, sensor: str, merging_at_end: bool) -> str:
    """The name here of a parameter of SimMIM, GFM (`encoder.`, `decoder.0.`), official Swin or timm (no prefix)."""
    name = re.sub(r"^(module\.)?(encoder\.)?", "", name)
    if merging_at_end:  # SimMIM, official Swin: patch merging ends a stage; timm and here: it begins the next
        name = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name)
    if name == "mask_token":
        return name
    if name.startswith("patch_embed."):
        return name.replace("patch_embed.", f"patch_embed.{sensor}.", 1)
    if name.startswith("decoder.0."):
        return name.replace("decoder.0.", f"decoders.{sensor}.proj.", 1)
    return f"encoder.{name}"
