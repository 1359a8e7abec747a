"""A worker extracts a chunk into one shard, and does not repeat a chunk whose shard is complete."""

import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from distributed import Client, LocalCluster

from foal.extract.schedule.failures import REMEDY_MEDIA, ChunkResult
from foal.extract.schedule.plan import Chunk
from foal.extract.schedule.stream_spec import StreamSpec, build_stream_spec
from foal.extract.schedule.worker import EncoderPlugin, extract_chunk
from foal.shared.config.settings import ExtractSettings, Settings
from foal.shared.parallel.cluster import local_cluster
from foal.shared.parallel.plugin import plugin_of
from foal.shared.parallel.resources import Resources
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance

Extract = Callable[[Chunk], ChunkResult]


def stream_specs(settings: ExtractSettings) -> dict[str, StreamSpec]:
    return {stream: build_stream_spec(settings, stream) for stream in ("audio", "face")}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Extract]:
    """Extract a chunk of files below `tmp_path` into shard.h5 on a Dask worker."""
    settings = Settings()
    resources = Resources(workers=1, threads=1, decode_threads=1, devices=())
    plugin = EncoderPlugin(settings, stream_specs(settings.extract), resources)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", protocol="inproc://"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(plugin)

        def extract(chunk: Chunk) -> ChunkResult:
            options = {"root": tmp_path, "shard": tmp_path / "shard.h5", "command": "foal"}
            future = client.submit(extract_chunk, chunk, plugin_name=plugin.name, pure=False, **options)
            result: ChunkResult = future.result()
            return result

        yield extract


def test_a_chunk_is_extracted_once_unless_its_media_change(run: Extract, tmp_path: Path) -> None:
    for number in (1, 2):
        soundfile.write(tmp_path / f"{number}.wav", np.sin(np.arange(16000) / (5 + number)) / 3, 16000)
    (tmp_path / "text.wav").write_text("no sound")
    utterances = tuple(Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=1.0) for n in (1, 2))
    unreadable = Utterance(id="text", corpus="c", audio="text.wav", end=1.0)
    chunk = Chunk(stream="audio", split="c", utterances=(*utterances, unreadable), seconds=3.0)
    first = run(chunk)
    assert (first.frames, first.took > 0) == (98, True)
    (failure,) = first.failures
    assert (failure.id, failure.media, failure.remedy) == ("text", "text.wav", REMEDY_MEDIA)
    # The chunk itself is not sent back.
    assert b"1.wav" not in pickle.dumps(first)
    with ShardReader(tmp_path / "shard.h5") as shard:
        assert list(shard.ids) == ["u1", "u2"]
    written = (tmp_path / "shard.h5").stat().st_mtime_ns

    complete = replace(chunk, utterances=utterances)
    repeated = run(complete)
    assert (repeated.frames, repeated.took, repeated.failures) == (98, 0.0, ())
    assert (tmp_path / "shard.h5").stat().st_mtime_ns == written

    # A changed file is extracted again.
    soundfile.write(tmp_path / "2.wav", np.sin(np.arange(32000) / 9) / 3, 16000)
    assert run(complete).took > 0
    assert (tmp_path / "shard.h5").stat().st_mtime_ns != written


def threads_of(plugin_name: str) -> int:
    """The number of threads with which a run encodes on this worker."""
    plugin = plugin_of(plugin_name)
    assert isinstance(plugin, EncoderPlugin)
    with plugin.exclusive():
        plugin.load("audio")
        return torch.get_num_threads()


def test_runs_that_share_a_worker_keep_their_numbers_of_threads() -> None:
    settings = Settings.model_validate({"extract": {"audio": {"encoder": "random:tiny"}}})
    specs = {"audio": build_stream_spec(settings.extract, "audio")}
    plugins = [
        EncoderPlugin(settings, specs, Resources(workers=1, threads=threads, decode_threads=1, devices=()))
        for threads in (1, 2)
    ]
    before = torch.get_num_threads()
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", protocol="inproc://"
        ) as cluster,
        Client(cluster) as client,
    ):
        for plugin in plugins:
            client.register_plugin(plugin)
        found = [client.submit(threads_of, plugin.name, pure=False).result() for plugin in plugins * 2]
        client.submit(torch.set_num_threads, before, pure=False).result()
    assert found == [1, 2, 1, 2]


def test_a_worker_process_without_a_stream_of_transformers_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have started a fork server, which has imported the libraries of its streams.
    monkeypatch.setattr("foal.shared.parallel.fork_server._started", False)
    settings = Settings.model_validate({"extract": {"face": {"region": "crop"}}})
    resources = Resources(workers=1, threads=1, decode_threads=1, devices=())
    plugin = EncoderPlugin(settings, {"face": build_stream_spec(settings.extract, "face")}, resources)

    def imported() -> set[str]:
        return {"torch", "torchvision", "transformers", "facenet_pytorch"} & sys.modules.keys()

    with local_cluster(1, plugin) as client:
        assert list(client.run(imported).values()) == [{"torch"}]
