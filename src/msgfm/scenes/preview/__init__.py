"""A page that shows images of one place beside each other: `write_preview`."""

from msgfm.scenes.preview.preview import PreviewRequest, write_preview

__all__ = ["PreviewRequest", "write_preview"]
