"""Where shards lie: a folder, or a prefix on S3. Requests to S3 have time limits, are repeated, and then named."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgfm.errors import InputError
from msgfm.files import write_atomically

T = TypeVar("T")

S3 = "s3://"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|s3:", re.IGNORECASE)
_CONNECT_S = 10.0
_FIRST_PAUSE_S = 0.5
_HOPELESS = {"400", "401", "403", "AccessDenied", "InvalidAccessKeyId", "NoSuchBucket"}


class Storage(Protocol):
    """Named blocks of bytes. What is written appears whole or not at all."""

    def read(self, name: str) -> bytes:
        """All of it; `FileNotFoundError` if there is none."""

    def size(self, name: str) -> int | None:
        """Its length in bytes; None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Writes it, over what was there."""

    def delete(self, name: str) -> None:
        """Removes it, if it is there."""

    def url(self, name: str) -> str:
        """What to call it in messages."""


@dataclass(frozen=True)
class LocalStorage:
    """A folder."""

    folder: Path

    def read(self, name: str) -> bytes:
        """See `Storage`."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise
        except NotADirectoryError as error:
            raise InputError(f"{self.folder} is a file, not a folder of shards; give the folder") from error
        except OSError as error:
            raise InputError(f"cannot read {self.folder / name}: {error.strerror or error}") from error

    def size(self, name: str) -> int | None:
        """See `Storage`."""
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        with write_atomically(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def delete(self, name: str) -> None:
        """See `Storage`."""
        (self.folder / name).unlink(missing_ok=True)

    def url(self, name: str) -> str:
        """See `Storage`."""
        return str(self.folder / name)


@dataclass(frozen=True)
class S3Storage:
    """A prefix of a bucket.

    Endpoint, region and credentials are boto3's own: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, profiles, roles. A
    request that fails or gives no byte for `MSGFM_S3_TIMEOUT_S` seconds (30) is made `AWS_MAX_ATTEMPTS` times (5).
    """

    bucket: str
    prefix: str

    def read(self, name: str) -> bytes:
        """See `Storage`."""

        def get(client: Any) -> bytes:
            answer = client.get_object(Bucket=self.bucket, Key=self._key(name))
            content: bytes = answer["Body"].read()
            if len(content) != answer["ContentLength"]:
                raise ConnectionError(f"{len(content)} of {answer['ContentLength']} bytes came")
            return content

        return self._insist(get, name)

    def size(self, name: str) -> int | None:
        """See `Storage`."""
        try:
            answer = self._insist(lambda client: client.head_object(Bucket=self.bucket, Key=self._key(name)), name)
        except FileNotFoundError:
            return None
        return int(answer["ContentLength"])

    def write(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        self._insist(lambda client: client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content), name)

    def delete(self, name: str) -> None:
        """See `Storage`."""
        self._insist(lambda client: client.delete_object(Bucket=self.bucket, Key=self._key(name)), name)

    def url(self, name: str) -> str:
        """See `Storage`."""
        return f"{S3}{self.bucket}/{self._key(name)}"

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _insist(self, request: Callable[[Any], T], name: str) -> T:
        """Makes a request until it succeeds, is refused for good, or has been made often enough."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        attempts = _attempts()
        for attempt in range(1, attempts + 1):
            try:
                return request(_client(os.getpid(), _timeout_s()))
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code in ("404", "NoSuchKey"):
                    raise FileNotFoundError(self.url(name)) from error
                if code in _HOPELESS:
                    raise InputError(f"{self.url(name)}: {error}; check AWS_ENDPOINT_URL and credentials") from error
                last: Exception = error
            except NoCredentialsError as error:
                raise InputError(f"{self.url(name)}: no credentials; set AWS_ACCESS_KEY_ID and its secret") from error
            except (BotoCoreError, OSError) as error:
                last = error
            if attempt < attempts:
                time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
        raise InputError(
            f"{self.url(name)}: no success in {attempts} attempts, last {type(last).__name__}: {last}; check "
            f"AWS_ENDPOINT_URL and the network (AWS_MAX_ATTEMPTS and MSGFM_S3_TIMEOUT_S set the limits)"
        ) from last


def storage_at(location: Path | str) -> Storage:
    """The storage of a folder or of `s3://bucket/prefix`.

    Raises:
        InputError: an S3 address without a bucket, or an address of something else.
    """
    text = str(location)
    _require_known(text)
    if not text.startswith(S3):
        return LocalStorage(Path(location))
    bucket, _, prefix = text.removeprefix(S3).partition("/")
    if not bucket:
        raise InputError(f"{text} names no bucket; write s3://bucket/prefix")
    return S3Storage(bucket, prefix.strip("/"))


def as_location(value: object) -> object:
    """A path, or the text of an address on S3, which a path would spoil.

    Raises:
        InputError: an address of something else.
    """
    if isinstance(value, str):
        _require_known(value)
    return Path(value) if isinstance(value, str) and not is_remote(value) else value


def is_remote(location: Path | str) -> bool:
    """Whether it is an address on S3."""
    return str(location).startswith(S3)


def _require_known(text: str) -> None:
    if not text.startswith(S3) and _ADDRESS.match(text):
        raise InputError(f"{text} is no place for shards or manifests: only s3://bucket/prefix or a folder")


@lru_cache(maxsize=4)
def _client(process: int, timeout_s: float) -> Any:
    """A client for each process: connections must not be shared across a fork."""
    import boto3
    from botocore.config import Config

    # one attempt each: `_insist` repeats, and unlike botocore also what fails while the body is read
    config = Config(connect_timeout=_CONNECT_S, read_timeout=timeout_s, retries={"total_max_attempts": 1})
    return boto3.client("s3", config=config)


def _attempts() -> int:
    text = os.environ.get("AWS_MAX_ATTEMPTS") or "5"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"environment variable AWS_MAX_ATTEMPTS={text}: give a whole number from 1, or unset it")
    return int(text)


def _timeout_s() -> float:
    text = os.environ.get("MSGFM_S3_TIMEOUT_S") or "30"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"environment variable MSGFM_S3_TIMEOUT_S={text}: give a number above 0, or unset it")
    return value
