"""Pretraining and what it leaves behind: logs, pictures, scores, checkpoints. The one place that needs Lightning."""
