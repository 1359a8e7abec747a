"""Contact sheets of utterances without a face, without a video, or with an invalid configuration."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.inspect.contact_sheet import make_sheet
from foal.extract.inspect.sheet_layout import (
    EMPTY,
    MAX_PICTURE,
    WARNING,
    thumbnail,
)
from foal.extract.media.video import Segment, open_video
from foal.shared.errors import StoreError
from foal.shared.manifest import write_manifest
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance
from foal.tests.extract.inspect.sheet_pixels import FULL, find_image, pixels

MakeVideo = Callable[..., Path]
ReadNumber = Callable[[np.ndarray], int]


def write_small_index(folder: Path, box: float, **config: object) -> Path:
    """Write an index of two utterances, v and w, with the face boxes (-box, -box, box, box) and no valid frame."""
    utterances = [
        Utterance(id=name, corpus="test", speaker="s", label="neu", video=f"{name}.mp4", end=1.6) for name in ("v", "w")
    ]
    write_manifest(folder / "m.csv", utterances)
    header = ShardHeader(
        modality="face",
        config_hash="0" * 64,
        rate_hz=10.0,
        encoder="random:test",
        revision="",
        weights="0",
        random_weights=True,
        config={"region": "face", "margin": 0.2, "size": None, **config},
    )
    boxes = np.tile(np.array([-box, -box, box, box], np.float32), (16, 1))
    with ShardWriter(folder / "f" / "test" / "face-00000000" / "a.h5", header, dtype="float16") as writer:
        for utterance in utterances:
            writer.add(
                Entry(
                    id=utterance.id,
                    values=np.zeros((16, 4), np.float32),
                    valid=np.zeros(16, bool),
                    origin=0.05,
                    source=utterance.source("face"),
                    media="",
                    note="no face found",
                    boxes=boxes,
                )
            )
    write_index(folder / "feats.h5", utterances, folder / "f", {"face": "0" * 64})
    return folder


@pytest.fixture
def faceless(tmp_path: Path, make_video: MakeVideo) -> Path:
    """An index of two utterances: one without a detected face, and one whose video is missing."""
    make_video(tmp_path / "v.mp4", frames=40)
    return write_small_index(tmp_path, np.nan)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": 4000}, "size: input should be less than or equal to 1024, got 4000"),
        ({"size": [160]}, r"size: .* got \[160\]"),
        ({"size": 0}, "size: .* got 0"),
        ({"margin": 20.0}, "margin: input should be less than or equal to 2, got 20"),
        ({"margin": -3}, "margin: .* got -3"),
        ({"crop_shape": "round"}, "crop_shape: .* got 'round'"),
        ({"min_probability": 7}, "min_probability: .* got 7"),
    ],
)
def test_an_invalid_stream_configuration_is_refused(
    tmp_path: Path, make_video: MakeVideo, config: dict[str, object], message: str
) -> None:
    make_video(tmp_path / "v.mp4", frames=40)
    write_small_index(tmp_path, 0.5, **config)
    with pytest.raises(StoreError, match=rf"feats\.h5: the configuration of 'face' .*{message}"):
        make_sheet(
            tmp_path / "s.png",
            tmp_path / "feats.h5",
            root=tmp_path,
            stream=None,
            per_speaker=2,
            speakers=24,
        )
    assert not (tmp_path / "s.png").exists()


def middle_frame(video: Path) -> np.ndarray:
    """The thumbnail of the middle frame of the utterance v."""
    reader = open_video(video)
    plan = reader.plan(Segment(start=None, end=1.6, fps=10.0))
    ((_, _, image),) = reader.crops([plan[7:8]], [FULL])
    return pixels(thumbnail(image, None))


def test_without_a_face_the_middle_frame_is_marked(faceless: Path, read_number: ReadNumber) -> None:
    for _ in range(2):
        # The second call replaces the first sheet.
        make_sheet(
            faceless / "s.png",
            faceless / "feats.h5",
            root=faceless,
            stream=None,
            per_speaker=2,
            speakers=24,
        )
    sheet = pixels(faceless / "s.png")
    middle = middle_frame(faceless / "v.mp4")
    assert read_number(middle) == 18  # shown at 0.75 s, at 25 frames per second
    height, width = middle.shape[:2]
    # Only the lower half, since the mark is in the upper left corner.
    position = find_image(middle[height // 2 :], sheet)
    assert position is not None
    marked = sheet[position[0] - height // 2 :, position[1] :][: height // 2, : width // 2]
    assert (marked == WARNING).all(-1).any()
    assert (sheet == EMPTY).all(-1).sum() > MAX_PICTURE[0] * 100
