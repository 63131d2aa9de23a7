"""Published checkpoints of other encoders: where their names start, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from msgfm.errors import InputError


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
