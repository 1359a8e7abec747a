"""Videos with the predictions drawn into them."""

from pathlib import Path

import av
import numpy as np
import pytest

from foal.predict.output.annotated_video import annotate_video
from foal.predict.output.clip_files import by_file
from foal.predict.output.prediction import FaceTrace
from foal.shared.errors import MediaError
from foal.tests.predict.output.predictions import prediction, result_of
from foal.tests.predict.small_model import write_clip


def test_the_video_keeps_pictures_times_and_sound(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "a.avi", seconds=2.0))
    trace = FaceTrace(start=0.0, rate_hz=5.0, boxes=np.tile(np.array([0.2, 0.2, 0.6, 0.8], np.float32), (10, 1)))
    rows = [prediction("a#1", start=0.0, end=1.0, media=clip), prediction("a#2", start=1.0, end=2.0, media=clip)]
    (found,) = by_file(result_of(*rows, traces={"/m/a#1": trace}))
    path = annotate_video(tmp_path / "out.mp4", found)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert [round(float(frame.time or 0), 2) for frame in frames] == [n / 10 for n in range(20)]
        assert (frames[0].width, frames[0].height) == (64, 48)
        (audio,) = container.streams.audio
        assert audio.codec.name == "aac"
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(32_000, abs=2048)


def test_a_file_without_video_is_one_sentence(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "a.avi", picture=False))
    (found,) = by_file(result_of(prediction(media=clip)))
    with pytest.raises(MediaError, match="no video track"):
        annotate_video(tmp_path / "out.mp4", found)
    assert not (tmp_path / "out.mp4").exists()
