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
import json, sys, torch
from foal.extract.schedule.chunk import Encoders
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings

SLOW = {"facenet_pytorch", "opensmile", "torchvision", "transformers.modeling_utils"}
stream, settings = sys.argv[1], ExtractSettings.model_validate_json(sys.argv[2])
encoders = Encoders(settings, {stream: build_stream_spec(settings, stream)}, torch.device("cpu"), decode_threads=1)
imported = [sorted(SLOW & sys.modules.keys())]
encoders.import_libraries()
imported.append(sorted(SLOW & sys.modules.keys()))
encoders.load(stream)
imported.append(sorted(SLOW & sys.modules.keys()))
print(json.dumps(imported))
"""


@pytest.mark.parametrize(
    ("stream", "changes", "libraries"),
    [
        ("audio", {}, ["torchvision", "transformers.modeling_utils"]),  # transformers itself imports torchvision
        ("text", {}, ["torchvision", "transformers.modeling_utils"]),
        ("face", {}, ["facenet_pytorch", "torchvision"]),
        ("face", {"face": {"region": "crop"}}, []),
        ("face", {"face": {"region": "crop", "encoder": "random:facenet"}}, ["facenet_pytorch", "torchvision"]),
    ],
)
def test_a_worker_imports_what_its_streams_need_before_it_loads_them(
    stream: str, changes: dict[str, Any], libraries: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_LIBRARIES, stream, json.dumps(changes)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    before, started, loaded = json.loads(done.stdout)
    assert before == []
    assert started == libraries
    assert loaded == libraries
