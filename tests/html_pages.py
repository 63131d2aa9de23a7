"""Reports as a browser would take them: tags, text, table rows and the pictures within."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """What is in a page.

    tags: with their attributes, in order. text: all of it, a line for each piece. rows: cells of every table row.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("tr", "table"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"
        if self._in_cell:
            self.rows[-1][-1] += data

    @property
    def needs_other_files(self) -> bool:
        """Whether a browser would fetch anything."""
        loads = any(
            tag in ("script", "link", "iframe") or attrs.keys() & {"href", "srcset"} for tag, attrs in self.tags
        )
        return loads or bool(re.search(r"url\(|@import|https?://", self.source))

    def pictures(self) -> list[bytes]:
        """The PNG files that the page holds."""
        sources = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        return [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]
