"""Data of downstream tasks: from a manifest to batches of images with what is to be predicted."""

from msgfm.data.tasks.batch import TaskBatch
from msgfm.data.tasks.config import DataConfig
from msgfm.data.tasks.dataset import TaskDataset, Window
from msgfm.data.tasks.full_resolution import FULL_RESOLUTION, FullResolution
from msgfm.data.tasks.load import TaskData, load_task_data, require_disjoint

__all__ = [
    "FULL_RESOLUTION",
    "DataConfig",
    "FullResolution",
    "TaskBatch",
    "TaskData",
    "TaskDataset",
    "Window",
    "load_task_data",
    "require_disjoint",
]
