"""Pretraining: from a recipe and manifests to a folder that `from_pretrained` loads."""
