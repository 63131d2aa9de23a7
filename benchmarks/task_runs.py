"""No benchmark itself: fine-tuning runs that the benchmarks of tasks make, kept when they are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgfm.config import load_config
from msgfm.files import write_atomically
from msgfm.training.finetuning.config import FinetuneConfig
from msgfm.training.finetuning.finetune import finetune
from msgfm.training.finetuning.results import read_scores

RECIPES = Path(__file__).parents[1] / "recipes" / "finetune"


def train(task: str, out: Path, changes: Sequence[str]) -> None:
    """Fine-tunes, going on where an earlier run stopped."""
    config = load_config(FinetuneConfig, RECIPES / f"{task}.yaml", [*changes, f"out={out}"])
    begun = any(out.glob("seed_*/checkpoints/step_*")) or any(out.glob("seed_*/run.json"))
    if code := finetune(config, resume=begun):
        raise SystemExit(code)


def scores_of(folder: Path) -> dict[str, float]:
    """Metrics of the test split."""
    return dict(read_scores(folder)["test"].metrics)


def write_table(path: Path, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    with write_atomically(path) as temporary:
        temporary.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
