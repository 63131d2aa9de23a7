"""When images were taken: as products, catalogue items, files and users say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from msgfm.errors import InputError

Span = tuple[datetime, datetime]
"""The first and the last moment, UTC."""


def joined(spans: Iterable[Span | None]) -> Span | None:
    """From the first to the last of those that are known; None where none is."""
    known = [span for span in spans if span is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


def span_of(first: str, last: str = "") -> Span | None:
    """Of ISO 8601, without a zone UTC; None where it is none.

    Args:
        first: when it began.
        last: when it ended; empty for the same.
    """
    with suppress(ValueError, OverflowError):  # the year 1 in a zone east of Greenwich
        span = _moment(first), _moment(last or first)
        return span if span[0] <= span[1] else None
    return None


def span_of_tag(date_time: str) -> Span | None:
    """Of TIFF's tag DateTime, taken for UTC; None where there is none."""
    with suppress(ValueError):
        moment = datetime.strptime(date_time.strip(), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        return moment, moment
    return None


def span_of_item(item: Mapping[str, Any]) -> Span | None:
    """Of a STAC item: its interval, else its time."""
    properties = item.get("properties") or {}
    first, last = (str(properties.get(key) or "") for key in ("start_datetime", "end_datetime"))
    moment = str(properties.get("datetime") or "")
    return span_of(first, last) or span_of(moment)


def stated_span(text: str) -> Span:
    """What a user says: `2022-06-01T10:00:31Z`, a date, or two with a slash between them.

    Raises:
        InputError: it is none.
    """
    first, slash, last = text.partition("/")
    span = span_of(first, last)
    if span is None or (slash and not last) or "/" in last:
        raise InputError(
            f"--taken {text}: write a date or time as 2022-06-01 or 2022-06-01T10:00:31Z, or the first and the last of "
            f"the inputs as 2022-06-01/2022-06-03"
        )
    return span


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
