"""A web server on loopback that serves files, and breaks as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HANG, DROP = "hang", "drop"


@contextmanager
def serve(folder: Path, failure: Callable[[], str]) -> Iterator[str]:
    """Serves a folder with ranges of bytes; gives its address.

    Args:
        folder: of the files.
        failure: asked at each request: empty to answer, `HANG` to say nothing, `DROP` to break off in the middle, or
            the number of an HTTP error.
    """
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, wrong = folder / urlsplit(self.path).path.lstrip("/"), failure()
            if wrong == HANG:
                over.wait()
                self.close_connection = True
            elif wrong not in ("", DROP) or not path.is_file():
                self.send_error(int(wrong or 404))
            else:
                self._send(path.read_bytes(), break_off=wrong == DROP)

        do_HEAD = do_GET  # noqa: N815

        def _send(self, content: bytes, *, break_off: bool) -> None:
            asked = self.headers.get("Range")
            first, last = 0, len(content) - 1
            if asked:
                begin, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(begin), min(int(end or last), last)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command == "GET":
                part = content[first : last + 1]
                self.wfile.write(part[: len(part) // 2] if break_off else part)
            self.close_connection = break_off

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
