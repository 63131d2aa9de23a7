"""Recipes by path, or by the name of one that comes with msgfm."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgfm.errors import InputError


def find_recipe(kind: Literal["pretrain", "finetune"], name: str) -> Path:
    """The path of a recipe given as a path or as the name of a built-in one.

    Raises:
        InputError: there is no such file or name; the names there are, are listed.
    """
    import difflib

    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    package = Path(__file__).parents[1]
    # in a checkout the recipes lie beside src, in an installed package inside it
    folders = (package.parents[1] / "recipes" / kind, package / "recipes" / kind)
    folder = next((folder for folder in folders if folder.is_dir()), folders[-1])
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no recipe {name!r}: {hint}built in are {', '.join(names)}; your own is a path ending in .yaml"
        )
    return folder / f"{name}.yaml"
