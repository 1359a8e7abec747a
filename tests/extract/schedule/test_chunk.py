import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from foal.extract.schedule.chunk import Encoders
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, {"audio": 64 * 2 * 50, "face": (192 * 2 + 16 + 1) * 10}),
        (
            {"dtype": "float32", "face": {"region": "frame", "fps": 5}},
            {"audio": 64 * 4 * 50, "face": (192 * 4 + 1) * 5},
        ),
    ],
)
def test_bytes_per_second_depend_on_rate_width_and_dtype(changes: dict[str, Any], sizes: dict[str, float]) -> None:
    settings = ExtractSettings.model_validate(changes)
    specs = {stream: build_stream_spec(settings, stream) for stream in sizes}
    encoders = Encoders(settings, specs, torch.device("cpu"), decode_threads=1)
    assert {stream: encoders.bytes_per_second(stream) for stream in sizes} == sizes


def test_the_main_process_imports_no_encoders() -> None:
    code = (
        "import sys, foal.extract.schedule.execute\n"
        "print(sorted({'torch', 'transformers', 'facenet_pytorch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


SLOW_LIBRARIES = """
import json, os, sys, torch
from foal.extract.schedule.chunk import Encoders
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings

SLOW = {"facenet_pytorch", "opensmile", "torchvision", "transformers.modeling_utils"}
for stream, changes in json.loads(sys.argv[1]):
    # What each imports is unknown to the others.
    if os.fork():
        os.wait()
        continue
    settings = ExtractSettings.model_validate(changes)
    encoders = Encoders(settings, {stream: build_stream_spec(settings, stream)}, torch.device("cpu"), decode_threads=1)
    imported = [sorted(SLOW & sys.modules.keys())]
    encoders.import_libraries()
    imported.append(sorted(SLOW & sys.modules.keys()))
    encoders.load(stream)
    imported.append(sorted(SLOW & sys.modules.keys()))
    print(json.dumps(imported))
    break
"""
TRANSFORMERS = ["torchvision", "transformers.modeling_utils"]
"""transformers itself imports torchvision."""

FACENET = ["facenet_pytorch", "torchvision"]
STREAMS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("audio", {}, TRANSFORMERS),
    ("face", {}, FACENET),
    ("face", {"face": {"region": "crop"}}, []),
]


def test_a_worker_imports_what_its_streams_need_before_it_loads_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_LIBRARIES, json.dumps([stream[:2] for stream in STREAMS])],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # Before and after the import of libraries, and after the stream is loaded.
    expected = [[[], libraries, libraries] for _, _, libraries in STREAMS]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
