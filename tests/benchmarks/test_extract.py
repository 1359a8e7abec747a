"""benchmarks/extract.py: extraction compared with its parts and with the documented usage of each library."""

from collections.abc import Callable
from typing import Any


def test_every_part_is_measured_and_agrees_with_the_documented_usage(
    run_benchmark: Callable[..., dict[str, Any]],
) -> None:
    result = run_benchmark("extract")
    for part in ("decode_s", "detect_s", "encode_audio_s", "encode_face_s", "naive_s"):
        assert 0 < result[part] < result["media_s"] * 60
    assert result["utterances"] == 4
    assert result["media_s"] > 2
    assert result["frames"] >= result["faces"] >= result["frames_compared"] >= 4
    assert result["audio_cosine"] > 0.9999
    assert result["face_same_box"] > 0.9999
    assert result["iou"] > 0.8
    assert result["peak_rss_mb"] > 100
