"""The folder of a run: made, kept from other runs while one writes to it, with the recipe as it was resolved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from msgfm.config import Config, save_yaml
from msgfm.files import lock_folder, remove_unfinished, write_atomically

RUN_FACTS = "run.json"
"""Written last: its presence says that a run is complete."""
RECIPE = "recipe.yaml"


def prepare_run_folder(folder: Path, config: Config, held: ExitStack) -> None:
    """Makes the folder, keeps other runs out of it while `held` lasts, and writes the recipe as it was resolved.

    What a kill left half written is removed.
    """
    held.enter_context(lock_folder(folder))
    remove_unfinished(folder)
    with write_atomically(folder / RECIPE) as temporary:
        save_yaml(config, temporary)
