"""Shards on S3: a server on loopback, a cache that stays within its bounds, and servers that fail or hang."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from shard_data import NOISE, assert_same_samples, content_of, make_manifest, options
from small_runs import invoke, read_log, refused, run, write_data, write_recipe
from stub_server import stub

from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, write_manifest
from msgfm.data.sharding.write import write_shards
from msgfm.data.shards.cache import CacheLimits, Remote, mirror
from msgfm.data.shards.read import open_shards
from msgfm.data.shards.storage import S3Storage, storage_at
from msgfm.data.shards.verify import verify_shards
from msgfm.errors import InputError


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server of its own process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AWS_MAX_ATTEMPTS": "3",
        "MSGFM_S3_TIMEOUT_S": "5",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty bucket on it, reached through the environment."""
    import boto3

    from msgfm.data.shards import storage

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    storage._client.cache_clear()
    client = boto3.client("s3")
    name = f"bucket-{abs(hash(request.node.name))}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield f"s3://{name}"
    storage._client.cache_clear()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("files"))


def objects(location: str) -> dict[str, bytes]:
    import boto3

    name, _, prefix = location.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=name, Prefix=prefix).get("Contents", [])
    return {
        Path(one["Key"]).name: client.get_object(Bucket=name, Key=one["Key"])["Body"].read() for one in listed
    }  # fmt: skip


def test_s3_holds_the_same_bytes_and_gives_the_same_samples(manifest: Manifest, bucket: str, tmp_path: Path):
    write_shards(manifest, tmp_path / "local", options())
    write_shards(manifest, f"{bucket}/it", options(workers=2))
    assert objects(f"{bucket}/it") == content_of(tmp_path / "local")
    assert verify_shards(f"{bucket}/it") == []
    assert_same_samples(manifest, open_shards(f"{bucket}/it"))


def test_a_killed_upload_goes_on(manifest: Manifest, bucket: str, tmp_path: Path):
    write_shards(manifest, tmp_path / "local", options())
    process = multiprocessing.get_context("fork").Process(target=write_shards, args=(manifest, bucket, options()))
    process.start()
    while process.is_alive() and not any(name.endswith(".json") for name in objects(bucket)):
        time.sleep(0.01)
    process.kill()
    process.join()
    left = objects(bucket)
    assert left and "shards.json" not in left
    write_shards(manifest, bucket, options())
    assert objects(bucket) == content_of(tmp_path / "local")


def test_a_flipped_byte_on_s3_is_named_and_never_cached(manifest: Manifest, bucket: str):
    write_shards(manifest, bucket, options())
    storage = storage_at(bucket)
    content = bytearray(storage.read("chunk-0-1.bin"))
    content[len(content) // 2] ^= 1
    storage.write("chunk-0-1.bin", bytes(content))
    (problem,) = verify_shards(bucket)
    assert f"{bucket}/chunk-0-1.bin, sample place" in problem
    packed = open_shards(bucket)
    with pytest.raises(InputError, match=r"chunk-0-1\.bin is damaged"):
        read_sample(packed.root, packed.samples[4], packed.sensors)
    assert not list(packed.root.parent.rglob("*chunk-0-1.bin"))
    assert invoke("data", "verify", bucket).exit_code == 2


def test_the_cache_stays_within_its_bounds_whoever_reads(manifest: Manifest, bucket: str, tmp_path: Path):
    index = write_shards(manifest, bucket, options(30_000))
    assert len(index.chunks) == 7
    largest = max(chunk.size for chunk in index.chunks)
    limit = CacheLimits(folder=tmp_path / "bounded", size=2 * largest)
    packed = open_shards(bucket, limit)
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(_size(tmp_path / "bounded"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    # of a process that was killed while it fetched
    (packed.root.parent / ".chunk-0-0.bin.part").write_bytes(bytes(2 * largest))
    readers = [
        multiprocessing.get_context("fork").Process(target=assert_same_samples, args=(manifest, packed))
        for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    done.set()
    watcher.join()
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    assert 0 < _size(tmp_path / "bounded") <= limit.size
    assert max(seen[len(seen) // 4 :]) <= 2 * limit.size
    assert not list((tmp_path / "bounded").rglob("*.part"))
    with pytest.raises(InputError, match="the cache may hold 1000"):
        open_shards(bucket, replace(limit, size=1000))


def test_what_another_host_fetches_is_left_to_it(manifest: Manifest, bucket: str, tmp_path: Path):
    write_shards(manifest, bucket, options(30_000))
    packed = open_shards(bucket, CacheLimits(folder=tmp_path / "shared"))
    half = packed.root.parent / ".chunk-0-0.bin.part"
    half.write_bytes(b"half")
    # on another host, which this one's list of processes does not have
    with half.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        read_sample(packed.root, packed.samples[3], packed.sensors)
        assert half.read_bytes() == b"half"
    read_sample(packed.root, packed.samples[4], packed.sensors)
    assert not half.exists(), "the other host has died"


def test_runs_of_one_cache_are_each_bounded_by_their_own_limit(manifest: Manifest, bucket: str, tmp_path: Path):
    index = write_shards(manifest, bucket, options(30_000))
    whole, two = index.size, 2 * max(chunk.size for chunk in index.chunks)
    large = open_shards(bucket, CacheLimits(folder=tmp_path / "shared", size=whole))
    small = open_shards(bucket, CacheLimits(folder=tmp_path / "shared", size=two))
    assert_same_samples(manifest, large)
    assert _size(tmp_path / "shared") == whole, "the other run's limit is not its own"
    (tmp_path / "shared" / small.root.parent.name / "chunk-0-0.bin").unlink()
    assert_same_samples(manifest, small)
    assert _size(tmp_path / "shared") <= two
    assert_same_samples(manifest, large)
    assert _size(tmp_path / "shared") == whole


def test_chunks_that_another_run_removes_are_fetched_again(
    manifest: Manifest, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    from msgfm.data.shards import read

    write_shards(manifest, bucket, options(30_000))
    packed = open_shards(bucket)
    fetch, opened = read.fetch_chunk, read.read_item

    def fetch_and_lose(remote: Remote, name: str) -> bytes | None:
        content = fetch(remote, name)
        (remote.folder / name).unlink()
        return content

    with monkeypatch.context() as patch:
        patch.setattr(read, "fetch_chunk", fetch_and_lose)
        assert_same_samples(manifest, packed)
    assert_same_samples(manifest, packed)
    lost: list[Path] = []

    def lose_while_reading(path: Path, number: int) -> memoryview:
        if path in lost:
            return opened(path, number)
        path.unlink()
        lost.append(path)
        raise OSError(errno.ESTALE, "Stale file handle")  # as NFS tells of a file that another host has removed

    read._item.cache_clear()
    monkeypatch.setattr(read, "read_item", lose_while_reading)
    assert_same_samples(manifest, packed)
    assert len(lost) == 7


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*/chunk-*.bin"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_a_chunk_is_fetched_once_for_all_its_samples(manifest: Manifest, bucket: str, monkeypatch: pytest.MonkeyPatch):
    write_shards(manifest, bucket, options())
    asked: list[str] = []
    read = S3Storage.read
    monkeypatch.setattr(S3Storage, "read", lambda self, name: asked.append(name) or read(self, name))
    assert_same_samples(manifest, open_shards(bucket))
    assert_same_samples(manifest, open_shards(bucket))
    assert sorted(name for name in asked if name.startswith("chunk")) == [f"chunk-0-{k}.bin" for k in range(3)]


@pytest.mark.slow
def test_training_from_s3_is_training_from_files(bucket: str, tmp_path: Path):
    manifests = {"photos": write_data(tmp_path / "data")["photos"]}
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    run("data", "shard", manifests["photos"], f"{bucket}/photos", *accepted)
    losses = []
    for name, chosen in (("local", manifests), ("s3", {"photos": f"{bucket}/photos"})):
        (tmp_path / name).mkdir()
        recipe = write_recipe(tmp_path / name / "recipe.yaml", chosen)  # type: ignore[arg-type]
        run("pretrain", recipe)
        losses.append(read_log(tmp_path / name / "run").column("loss"))
    assert losses[0] == losses[1]
    small = "hardware.cache_gb=0.00001"
    out = f"out={tmp_path / 'small'}"
    assert "the cache may hold" in refused("pretrain", tmp_path / "s3" / "recipe.yaml", out, small)


def test_more_than_the_cache_holds_is_shuffled_in_windows_or_refused(manifest: Manifest, bucket: str, tmp_path: Path):
    index = write_shards(manifest, bucket, options(30_000))
    (tmp_path / "it").mkdir()
    largest = max(chunk.size for chunk in index.chunks)
    recipe = write_recipe(tmp_path / "it" / "recipe.yaml", {"it": bucket}, epochs=1)  # type: ignore[dict-item]
    small = [f"hardware.cache_gb={3 * largest / 1e9}", f"hardware.cache={tmp_path / 'bounded'}"]
    only = ["sources.it.sensors=[sentinel1]", "sources.it.batch_size=1"]
    assert "mixture.shuffle_block" in refused("pretrain", recipe, *small, *only)
    run("pretrain", recipe, *small, *only, "mixture.shuffle_block=1", "mixture.shuffle_window=2")
    assert len(read_log(tmp_path / "it" / "run").column("loss")) == 6
    assert 0 < _size(tmp_path / "bounded") <= 3 * largest


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from msgfm.data.shards import storage

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MSGFM_S3_TIMEOUT_S", "0.3")
    monkeypatch.setattr(storage, "_FIRST_PAUSE_S", 0.01)
    storage._client.cache_clear()
    yield
    storage._client.cache_clear()


def _give(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def _fails(handler: BaseHTTPRequestHandler) -> None:
    _give(handler, 503)


def _hangs(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1)


def _hangs_in_the_body(handler: BaseHTTPRequestHandler) -> None:
    _give(handler, 200, b"half", length=8)
    time.sleep(1)


def _ends_early(handler: BaseHTTPRequestHandler) -> None:
    _give(handler, 200, b"half", length=8)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("trouble", [_fails, _hangs, _hangs_in_the_body, _ends_early])
def test_a_request_that_fails_or_hangs_is_made_again_and_then_named(trouble: Callable[[BaseHTTPRequestHandler], None]):
    storage = storage_at("s3://bucket/prefix")
    with stub(lambda handler, count: trouble(handler) if count < 3 else _give(handler, 200, b"whole")) as requests:
        assert storage.read("it") == b"whole"
        assert len(requests) == 3
    with stub(lambda handler, _: trouble(handler)) as requests:
        from msgfm.data.shards.storage import _client

        _client.cache_clear()
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"s3://bucket/prefix/it: no success in 3 attempts, last \w+"):
            storage.read("it")
        assert len(requests) == 3
        assert time.monotonic() - begun < 20


@pytest.mark.usefixtures("_impatient")
def test_what_will_not_get_better_is_told_at_once():
    with stub(lambda handler, _: _give(handler, 403)) as requests:
        with pytest.raises(InputError, match="credentials"):
            storage_at("s3://bucket/prefix").size("it")
        assert len(requests) == 1
        with pytest.raises(InputError, match="credentials") as told:
            mirror("s3://bucket/prefix", CacheLimits())
        assert "damaged" not in str(told.value)
    with pytest.raises(InputError, match="names no bucket"):
        storage_at("s3:///prefix")


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "setting",
    [
        *(f"AWS_MAX_ATTEMPTS={value}" for value in ("none", "0.5", "0", "-2", "nan")),
        *(f"MSGFM_S3_TIMEOUT_S={value}" for value in ("none", "0", "nan", "inf")),
    ],
)
def test_settings_that_cannot_be_are_named(setting: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(*setting.split("="))
    with pytest.raises(InputError, match=f"{setting}: give a (whole )?number"):
        storage_at("s3://bucket/prefix").read("it")


def test_no_shards_there(bucket: str):
    told = refused("data", "verify", f"{bucket}/nothing")
    assert "shards.json is missing" in told.replace("\n", " ")


def test_tiles_on_s3_from_the_command_line(manifest: Manifest, bucket: str, tmp_path: Path):
    write_manifest(manifest, tmp_path / "it.parquet")
    accepted = [word for kind in NOISE for word in ("--accept", kind)]
    told = run("data", "shard", tmp_path / "it.parquet", f"{bucket}/deep/er", "--crop", 24, *accepted)
    assert "28 samples" in told
    packed = open_shards(f"{bucket}/deep/er")
    assert len(packed.samples) == 7 * 4
    assert np.isfinite(read_sample(packed.root, packed.samples[0], packed.sensors)["sentinel1"]).any()
