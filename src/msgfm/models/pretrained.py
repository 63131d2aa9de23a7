"""Models in and out: folders of `model.safetensors` + `config.json`, and encoders from SimMIM, GFM and timm.

No pickle is read here. Weights load strictly; what a foreign checkpoint did not bring is named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import msgfm
from msgfm.config import config_from_dict, config_to_dict
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.models.downstream import DownstreamConfig, DownstreamModel
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.swin import EncoderConfig
from msgfm.models.weights import (
    WEIGHTS,
    load_strictly,
    read_config_digest,
    read_weights,
    resize_window_bias,
    write_weights,
)

FORMAT_VERSION = 1
CONFIG = "config.json"
PRETRAINED, DOWNSTREAM = "pretrained", "downstream"
_PUBLISHED = [WEIGHTS, CONFIG, "run.json", "README.md", "recipe.yaml", "metrics.json", "missing_sensors*.*"]
"""What goes to the hub of a folder that training left, as far as it is there."""


def save_pretrained(model: MsGFM | DownstreamModel, folder: Path) -> None:
    """Writes `model.safetensors`, then `config.json`, each in one piece."""
    tree = config_to_dict(model.config)
    header = {
        "format_version": FORMAT_VERSION,
        "msgfm": msgfm.__version__,
        "kind": DOWNSTREAM if isinstance(model, DownstreamModel) else PRETRAINED,
        "model": tree,
    }
    write_weights(model, folder, config_digest=_digest_of(tree))
    with write_atomically(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(header, indent=1))


def load_model_config(folder: Path) -> MsGFMConfig | DownstreamConfig:
    """Reads the `config.json` of a model folder. One without a `kind` is of a pretrained model.

    Raises:
        InputError: not there, not JSON, or of another format version or kind.
    """
    path = folder / CONFIG
    header = _read_header(folder)
    version, model, kind = header["format_version"], header["model"], header.get("kind", PRETRAINED)
    if version != FORMAT_VERSION:
        raise InputError(f"{path} has format version {version}, this msgfm reads {FORMAT_VERSION}; update msgfm")
    if kind == PRETRAINED:
        return config_from_dict(MsGFMConfig, model, str(path))
    if kind == DOWNSTREAM:
        return config_from_dict(DownstreamConfig, model, str(path))
    raise InputError(f"{path} is of kind {kind!r}, this msgfm reads {PRETRAINED} and {DOWNSTREAM}; update msgfm")


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        header: dict[str, Any] = json.loads(path.read_text())
        header["format_version"], header["model"], header.get("kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} holds no msgfm model: cannot use {path} ({error})") from error
    return header


def _digest_of(tree: Any) -> str:
    """SHA-256 of a model's configuration, however its file is indented."""
    # what JSON has no word for, as tuples, is first made what a reader of the file finds
    text = json.dumps(json.loads(json.dumps(tree)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_own_config(folder: Path) -> None:
    """Refuses a configuration that the weights were not written with: inputs in another order, say, would still fit.

    Raises:
        InputError: names both files.
    """
    written = read_config_digest(folder)
    if written is not None and written != _digest_of(_read_header(folder)["model"]):
        raise InputError(
            f"{folder / CONFIG} is not the configuration that {folder / WEIGHTS} was written with, by the digest in "
            f"it: one was changed, or they are of two models; copy both from one folder again"
        )


def from_pretrained(folder: str | Path, *, window_size: int | None = None) -> MsGFM | DownstreamModel:
    """Loads a pretrained model, or one fine-tuned for a task, in evaluation mode on the CPU.

    Args:
        folder: a local folder, or the name of a repository on the Hugging Face hub (`owner/name`).
        window_size: another attention window, for other image sizes; the position bias is interpolated.

    Raises:
        InputError: no such folder or repository, or weights that are not those of its `config.json`, by
            name and shape or by the digest of it that they were written with.
    """
    path = model_folder(folder)
    config = load_model_config(path)
    state = read_weights(path)
    if window_size is not None:
        encoder = config_to_dict(config.encoder) | {"window_size": window_size}
        config = config.model_copy(update={"encoder": config_from_dict(EncoderConfig, encoder, "from_pretrained")})
        state = {name: resize_window_bias(name, tensor, window_size) for name, tensor in state.items()}
    model = MsGFM(config) if isinstance(config, MsGFMConfig) else DownstreamModel(config)
    load_strictly(model, state, str(path / WEIGHTS))
    _require_own_config(path)
    return model.eval()


def model_folder(name: str | Path) -> Path:
    """A local folder, or that of a repository on the hub (`owner/name`) once it is fetched.

    Raises:
        InputError: neither.
    """
    return Path(name).absolute() if Path(name).is_dir() else _download(str(name))


def load_msgfm(folder: str | Path) -> MsGFM:
    """`from_pretrained` where only a pretrained model will do.

    Raises:
        InputError: as there, or the folder holds a model that was fine-tuned for a task.
    """
    model = from_pretrained(folder)
    if not isinstance(model, MsGFM):
        raise InputError(
            f"{folder} holds a model fine-tuned for {model.config.task.kind}; a pretrained one is needed here, as "
            f"`msgfm pretrain` writes it"
        )
    return model


def load_downstream(folder: str | Path) -> DownstreamModel:
    """`from_pretrained` where only a model for a task will do.

    Raises:
        InputError: as there, or the folder holds a pretrained model without a task.
    """
    model = from_pretrained(folder)
    if not isinstance(model, DownstreamModel):
        raise InputError(f"{folder} holds a pretrained model without a task; `msgfm finetune` makes one for a task")
    return model


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
    _require_own_config(folder)
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=_PUBLISHED))


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
