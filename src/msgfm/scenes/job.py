"""What every command on a scene begins with: the scene opened and checked, the place of the result held."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import msgfm
from msgfm.data.memory import keep_freed_memory
from msgfm.errors import InputError, InputWarning
from msgfm.files import lock_folder, require_none_read, require_suffix, require_writable
from msgfm.geo.network import without_secrets
from msgfm.geo.tiling import Tiling
from msgfm.models.pretrained import model_folder
from msgfm.scenes.inputs.contract import require_contract
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.locate import items_in
from msgfm.scenes.inputs.request import SceneRequest
from msgfm.scenes.inputs.scene import Scene, open_scene
from msgfm.scenes.inputs.times import Span, joined, stated_span
from msgfm.scenes.mlm import describe_model
from msgfm.scenes.needs import digest_of_weights, model_digest, require_whole, training_window, wanted_cards
from msgfm.scenes.parts import PartsFolder, has_begun, open_parts, parts_beside, publish, remove_parts, staged
from msgfm.scenes.settings import Running, SceneInputs
from msgfm.scenes.share import require_data
from msgfm.scenes.stac import Origin, said_plan

_REMEDY = "choose another name, or replace it with --overwrite"
_ON_CPU, _ON_GPU = 4, 32
"""Windows at once: on a CPU more take more memory and no less time."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A scene that is open and checked, and a result that nobody else writes.

    Args:
        model: folder of the model.
        weights: SHA-256 of its weights.
        target: of a translation, the sensor wanted; else empty.
        stage: of features, the encoder's, from 1; else 0.
        scene: open.
        tiling: windows on the result's grid.
        out: the result.
        running: how it is worked on.
        device: as torch names it.
        stated: when the images were taken, as the user says; None where nothing was said.
        step: pixels of the scene along one side of one of the result.
        read: files that it is made of, also items and the one whose grid is taken.
    """

    model: Path
    weights: str
    target: str
    stage: int
    scene: Scene
    tiling: Tiling
    out: Path
    running: Running
    device: str
    stated: Span | None = None
    step: int = 1
    read: tuple[str, ...] = ()

    def on_tokens(self, step: int, widest: int) -> Job:
        """The same for a result whose pixels are tokens of an encoder, with windows of whole tokens.

        Args:
            step: pixels along one side of a token.
            widest: pixels that a window is a multiple of, unless its size was asked for.

        Raises:
            InputError: the size that was asked for is none of whole tokens.
        """
        window, grid = self.tiling.window, self.scene.grid.coarser(step)
        if self.running.window is None:
            window = -(-window // widest) * widest
        elif window % step:
            whole = -(-window // step) * step
            raise InputError(f"--window {window}: a window is whole tokens of {step} pixels; give {whole}")
        tokens = window // step
        overlap = min(-(-self.tiling.overlap // step), tokens - 1)
        tiling = Tiling(height=grid.height, width=grid.width, window=tokens, overlap=overlap)
        return replace(self, tiling=tiling, step=step)

    @property
    def batch_size(self) -> int:
        """Windows at once."""
        return self.running.batch_size or (_ON_CPU if torch.device(self.device).type == "cpu" else _ON_GPU)

    @property
    def staged(self) -> Path:
        """Where the result is made, and beside it what belongs to it, until `finish` moves all of it to its place."""
        return staged(self.out)

    def open_parts(self, layers: Sequence[str], settings: Mapping[str, Any]) -> PartsFolder:
        """The folder of the result's parts, of an earlier run of the same plan or new.

        Args:
            layers: of the result.
            settings: what its bytes depend on beside model, scene, windows, batches and device.

        Raises:
            InputError: an earlier run had another plan, or is neither gone on with nor thrown away.
        """
        if self.running.overwrite and not self.running.resume:
            remove_parts(self.out)
        elif _is_finished(self.out, self.running):
            same = said_plan(self.out) == self.digest(settings)
            told = "complete and made of the same: nothing is left to resume" if same else "made of something else"
            raise InputError(f"{self.out} is there already, {told}; {_REMEDY}")
        return open_parts(self.out, layers, self._plan(settings), resume=self.running.resume)

    def _plan(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "msgfm": msgfm.__version__,
            "model": model_digest(self.model, self.weights),
            "target": self.target,
            "stage": self.stage,
            "inputs": self.scene.digest,
            **asdict(self.tiling),
            **settings,
            "batch_size": self.batch_size,
            "fill": self.running.fill,
            "device": self.device,
        }

    def digest(self, settings: Mapping[str, Any]) -> str:
        """SHA-256 of all that the result's bytes depend on; `settings` as for `open_parts`."""
        return hashlib.sha256(json.dumps(self._plan(settings), sort_keys=True).encode()).hexdigest()

    def require_inputs_stay(self, written: Iterable[Path]) -> None:
        """Refuses to replace an input, whatever `--overwrite` says.

        Raises:
            InputError: one of the files that are to be written is one.
        """
        require_none_read(written, self.read)

    def is_complete(self, settings: Mapping[str, Any]) -> bool:
        """Whether an earlier run of the same plan has finished the result, and this one is to go on from there."""
        wanted = self.running.resume and _is_finished(self.out, self.running)
        return wanted and said_plan(self.out) == self.digest(settings)

    def require_data(self, share: float, what: str = "pixels") -> None:
        """Ends where nothing has data; leaves nothing then that could be gone on with.

        Args:
            share: of the scene that has data.
            what: was counted.

        Raises:
            InputError: as `share.require_data`.
        """
        try:
            require_data(share, self.scene.keys, fill=self.running.fill, what=what)
        except InputError:
            remove_parts(self.out)
            raise

    def finish(self) -> None:
        """Puts the result into its place, and throws the parts away.

        Raises:
            InputError: it cannot be put there.
        """
        publish(self.out)

    def origin(self, settings: Mapping[str, Any], *, features: int = 0) -> Origin:
        """Of the result, for what is written beside it.

        Args:
            settings: as for `open_parts`.
            features: where these are the result, how many there are.
        """
        images = self.scene.request.images
        cards = {image.key: image.card for image in images}
        told = {
            "window": self.tiling.window * self.step,
            "overlap": self.tiling.overlap * self.step,
            "stage": self.stage or None,
        }
        taken = self.taken()
        return Origin(
            model=describe_model(
                self.model, cards, target=self.target, features=features, digest=self.weights, settings=told
            ),
            inputs=self.places(),
            taken=taken,
            untold=tuple(image.key for image in images if image.taken is None and taken and not self.stated),
            plan=self.digest(settings),
        )

    def taken(self) -> Span | None:
        """When the first and the last of the images were taken; None where nothing says so."""
        return self.stated or joined(image.taken for image in self.scene.request.images)

    def places(self) -> dict[str, list[str]]:
        """Files of the scene by key, as they may be shown."""
        return {image.key: [without_secrets(file.place) for file in image.files] for image in self.scene.request.images}


@contextmanager
def open_job(
    model: str,
    inputs: SceneInputs,
    out: Path,
    running: Running,
    *,
    suffix: str = ".tif",
    target: str = "",
    stage: int = 0,
    apart: bool = False,
) -> Iterator[Job]:
    """Opens a scene for a model, holds it against the input contract, and holds the place of the result.

    Args:
        model: its folder, or its name on the hub.
        inputs: the scene.
        out: the result.
        running: how it is worked on.
        suffix: that the result must have.
        target: of a translation, the sensor wanted.
        stage: of features, which a pretrained model has, too, the encoder's, from 1.
        apart: whether windows lie side by side unless said otherwise.

    Raises:
        InputError: inputs that do not fit the model or each other, or a result that is there already.
    """
    keep_freed_memory()
    require_suffix(out, suffix)
    require_writable(out)
    stated = stated_span(inputs.taken) if inputs.taken else None
    folder = model_folder(model)
    cards, first = wanted_cards(folder, inputs.images, target, features=bool(stage))
    request = make_request(
        cards,
        inputs.images,
        inputs.bands,
        inputs.like,
        first=first,
        settings=inputs.settings,
        power=inputs.power,
        allow_missing=inputs.allow_missing,
    )
    if request.grid.crs:
        request.grid.lon_lat_bounds()  # which the item needs: refused before the work
    tiling = make_tiling(folder, request, running, apart=apart)
    require_whole(folder, tiling)
    device = find_device(running.device)
    try:
        with lock_folder(parts_beside(out)), open_scene(request) as scene:
            read = _files_read(scene, inputs)
            require_none_read([out], read)
            if _is_finished(out, running) and not (running.resume and said_plan(out)):
                raise InputError(f"{out} is there already; {_REMEDY}")
            for finding in require_contract(scene, inputs.force):
                warnings.warn(" ".join(str(finding).split()), InputWarning, stacklevel=4)  # who calls for the result
            try:
                yield Job(
                    model=folder,
                    weights=digest_of_weights(folder),
                    target=target,
                    stage=stage,
                    scene=scene,
                    tiling=tiling,
                    out=out,
                    running=running,
                    device=device,
                    stated=stated,
                    read=read,
                )
            finally:
                if not has_begun(out):  # nothing that could be gone on with
                    remove_parts(out)
    finally:
        with suppress(OSError):  # what a run left stays
            parts_beside(out).rmdir()


def _files_read(scene: Scene, inputs: SceneInputs) -> tuple[str, ...]:
    files = [name for source in scene.sources.values() for name in source.files]
    items = [place for key, given in inputs.images.items() for place in items_in(key, given)]
    return (*files, *items, *(() if inputs.like is None else (inputs.like,)))


def _is_finished(out: Path, running: Running) -> bool:
    """Whether a result is there that is not to be replaced, and no run was stopped that was to do so."""
    return out.exists() and not running.overwrite and not has_begun(out)


def make_tiling(folder: Path, request: SceneRequest, running: Running, *, apart: bool) -> Tiling:
    """Windows as large as those of training, unless said otherwise, that overlap by a quarter, or lie side by side.

    Raises:
        InputError: windows that are no windows.
    """
    window = running.window or training_window(folder)
    usual = 0 if apart else window // 4
    overlap = usual if running.overlap is None else running.overlap
    if not 0 <= overlap < window:
        raise InputError(f"--overlap {overlap}: windows of {window} pixels overlap by 0 to {window - 1} pixels")
    return Tiling(height=request.grid.height, width=request.grid.width, window=window, overlap=overlap)


def find_device(wanted: str) -> str:
    """A device that there is; `auto` is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {wanted}: {str(error).splitlines()[0]}; give cpu, cuda or cuda:0") from error
    return wanted
