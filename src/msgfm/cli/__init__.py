"""The command line. What is heavy is imported inside the commands, so that `msgfm --help` answers at once."""

# importing a module of commands adds them to the app
from msgfm.cli import (
    catalogue,
    checks,
    comparison,
    data,
    download,
    finetuning,
    index,
    pretraining,
    preview,
    scenes,
    shards,
)
from msgfm.cli.app import app

__all__ = [
    "app",
    "catalogue",
    "checks",
    "comparison",
    "data",
    "download",
    "finetuning",
    "index",
    "pretraining",
    "preview",
    "scenes",
    "shards",
]
