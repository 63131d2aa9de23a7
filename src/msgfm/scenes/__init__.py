"""Whole scenes through a model: files in, georeferenced results out, in constant memory."""
