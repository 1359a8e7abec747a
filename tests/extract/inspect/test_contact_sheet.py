"""The contact sheet shows the speaker's crop, the face box, and the encoder's input."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foal.extract.face.cropping import cut_square
from foal.extract.inspect.contact_sheet import MAX_CELLS, by_speaker, make_sheet, sample_evenly, sample_rows
from foal.extract.inspect.sheet_layout import (
    BOX_COLOUR,
    FACE_GAP,
    MAX_WIDTH,
    thumbnail,
)
from foal.extract.media.video import Segment, open_video
from foal.shared.errors import FoalError, ManifestError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.tests.extract.inspect.sheet_pixels import FULL, find_image, pixels

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def extracted(foal_in: Foal, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    """A folder with two face streams of a synthetic session, and its contact sheet; read-only."""
    folder = tmp_path_factory.mktemp("contact")
    (folder / "params.yaml").write_text(
        f"corpus: {{root: {synthetic_corpus}, manifest: m.csv}}\n"
        "extract:\n  streams: [face, face/whole]\n  encoders: {face/whole: {region: frame}}\n"
        f"cluster: {{scheduler: {scheduler}}}\n"
    )
    for command in (
        ["manifest", "synthetic", synthetic_corpus, "-o", "m.csv"],
        ["extract", "-s", "session1"],
        ["index", "--pack", "-o", "packed.h5"],
        ["inspect", "--contact-sheet", "sheet.png", "--csv", "quality.csv"],
    ):
        done = foal_in(folder, *command)
        assert done.returncode == 0, done.stderr
    assert "sheet.png: 4 of 4 utterances, 2 of 2 speakers" in done.stdout
    assert "quality.csv: quality measures of 4 utterances" in done.stdout
    return folder


def middle_frames(store: FeatureStore, root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each utterance, the image and the face box of the valid frame nearest to its middle."""
    frames = {}
    for row, utterance in enumerate(store.utterances):
        valid = np.flatnonzero(store.packed("face", [row]).valid)
        position = int(valid[np.argmin(np.abs(valid - (store.lengths("face")[row] - 1) / 2))])
        video = open_video(root / utterance.video)
        plan = video.plan(Segment(start=utterance.start, end=utterance.end, fps=10.0))
        images = {index: image for _, index, image in video.crops([plan], [FULL])}
        boxes = store.boxes("face", row)
        assert boxes is not None
        frames[utterance.id] = images[position], boxes[position]
    return frames


def half(image: np.ndarray, crop: str) -> np.ndarray:
    width = image.shape[1]
    return np.ascontiguousarray(image[:, : width // 2] if crop == "left" else image[:, width // 2 :])


@pytest.mark.slow
def test_each_cell_shows_the_crop_the_box_and_the_encoder_input(extracted: Path, synthetic_corpus: Path) -> None:
    sheet = pixels(extracted / "sheet.png")
    assert sheet.shape[1] <= MAX_WIDTH
    positions = set()
    with FeatureStore(extracted / "feats.h5") as store:
        margin = store.streams["face"].config["margin"]
        frames = middle_frames(store, synthetic_corpus)
        for utterance in store.utterances:
            frame, box = frames[utterance.id]
            crop = half(frame, utterance.crop)
            scale = np.array([crop.shape[1], crop.shape[0]] * 2, np.float32)
            face = cut_square(crop, box * scale, size=160, margin=margin)
            position = find_image(face.round().byte().permute(1, 2, 0).numpy(), sheet)
            assert position is not None
            positions.add(position)
            y, x = position
            image = pixels(thumbnail(crop, None))
            height, width = image.shape[:2]
            shown = sheet[y : y + height, x - FACE_GAP - width : x - FACE_GAP].astype(int)
            x0, y0, x1, y1 = (
                round(float(fraction) * side) for fraction, side in zip(box, (width, height) * 2, strict=True)
            )
            for pixel in ((y0, (x0 + x1) // 2), (y1, (x0 + x1) // 2), ((y0 + y1) // 2, x0), ((y0 + y1) // 2, x1)):
                assert tuple(shown[pixel]) == BOX_COLOUR
            drawn_over = np.abs(shown - image).max(-1) > 0
            # Only the lines of the box differ: two pixels wide, with a contour on each side.
            assert drawn_over.sum() <= 2 * 4 * (x1 - x0 + y1 - y0 + 8)
            assert not drawn_over[y0 + 2 : y1 - 1, x0 + 2 : x1 - 1].any()
            other = pixels(thumbnail(half(frame, "right" if utterance.crop == "left" else "left"), None))
            assert (np.abs(shown - other).max(-1) > 8).mean() > 0.1
    assert len(positions) == 4


@pytest.mark.slow
def test_the_complete_frame_is_shown_for_region_frame(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    message = make_sheet(
        tmp_path / "s.png",
        extracted / "feats.h5",
        root=synthetic_corpus,
        stream="face/whole",
        per_speaker=1,
        speakers=0,
    )
    assert "2 of 4 utterances, 2 of 2 speakers" in message
    sheet = pixels(tmp_path / "s.png")
    with FeatureStore(extracted / "feats.h5") as store:
        sampled = sample_rows(store.utterances, by_speaker(store.utterances), per_speaker=1, speakers=0)
        frames = middle_frames(store, synthetic_corpus)
        names = {store.utterances[row].id for rows in sampled.values() for row in rows}
    for name, (frame, _) in frames.items():
        assert (find_image(pixels(thumbnail(frame, None)), sheet) is not None) == (name in names)


@pytest.mark.slow
def test_a_packed_index_gives_images_without_boxes(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    make_sheet(
        tmp_path / "s.png",
        extracted / "packed.h5",
        root=synthetic_corpus,
        stream=None,
        per_speaker=2,
        speakers=0,
    )
    sheet = pixels(tmp_path / "s.png")
    assert not (sheet == BOX_COLOUR).all(-1).any()
    with FeatureStore(extracted / "feats.h5") as store:
        frames = middle_frames(store, synthetic_corpus)
        for utterance in store.utterances:
            frame, _ = frames[utterance.id]
            assert find_image(pixels(thumbnail(half(frame, utterance.crop), None)), sheet) is not None


@pytest.mark.slow
def test_an_invalid_corpus_root_is_reported(extracted: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root in ("nowhere", "empty"):
        with pytest.raises(FoalError, match=f"{root}: expected the corpus root .--root"):
            make_sheet(
                tmp_path / "s.png",
                extracted / "feats.h5",
                root=tmp_path / root,
                stream=None,
                per_speaker=2,
                speakers=24,
            )
    assert not (tmp_path / "s.png").exists()


@pytest.mark.slow
def test_links_out_of_the_root_need_allow_outside(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for path in synthetic_corpus.iterdir():
        (root / path.name).symlink_to(path)
    with pytest.raises(ManifestError, match=r"feats\.h5, id .*, column (audio|video): .* through a symbolic link"):
        make_sheet(
            tmp_path / "s.png",
            extracted / "feats.h5",
            root=root,
            stream=None,
            per_speaker=1,
            speakers=2,
        )
    make_sheet(
        tmp_path / "s.png",
        extracted / "feats.h5",
        root=root,
        stream=None,
        per_speaker=1,
        speakers=2,
        allow_outside=True,
    )
    assert (tmp_path / "s.png").exists()


@pytest.mark.slow
def test_the_command_refuses_invalid_outputs_and_streams(foal_in: Foal, extracted: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "holiday.png")
    before = (tmp_path / "holiday.png").read_bytes(), (extracted / "m.csv").read_bytes()
    for arguments, message in (
        (["--contact-sheet", tmp_path / "holiday.png"], "exists and is not a contact sheet of foal"),
        (["--contact-sheet", tmp_path / "s.png", "--stream", "audio"], "it contains face, face/whole"),
        (["--contact-sheet", tmp_path / "s.png", "--per-speaker", "0"], "--per-speaker"),
        (["--contact-sheet", "sheet.jpg"], "ends in .png"),
        (["--csv", "m.csv"], "exists and is not a table of `foal inspect`"),
    ):
        done = foal_in(extracted, "inspect", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
    assert before == ((tmp_path / "holiday.png").read_bytes(), (extracted / "m.csv").read_bytes())
    assert not (tmp_path / "s.png").exists()


def test_rows_are_sampled_evenly_over_time_and_labels() -> None:
    labels = ["neu"] * 6 + ["hap"] * 2 + ["neu", "sad"]
    assert sample_evenly(range(10), labels, 1) == [4]
    assert sample_evenly(range(10), labels, 2) == [2, 7]
    assert [labels[row] for row in sample_evenly(range(10), labels, 3)] == ["neu", "hap", "sad"]
    assert sample_evenly([3, 8], labels, 5) == [3, 8]


def test_speakers_are_sampled_evenly_up_to_the_limit() -> None:
    utterances = [Utterance(id=str(row), corpus="c", speaker=f"s{row % 300}", label="x") for row in range(900)]
    speakers = by_speaker(utterances)
    sampled = sample_rows(utterances, speakers, per_speaker=2, speakers=24)
    assert len(sampled) == 24
    assert [name for name in sampled if name in ("s0", "s299")] == ["s0", "s299"]
    assert all(len(rows) == 2 and {utterances[row].speaker for row in rows} == {name} for name, rows in sampled.items())
    assert len(sample_rows(utterances, speakers, per_speaker=3, speakers=0)) == MAX_CELLS // 3
    assert set(by_speaker([*utterances, Utterance(id="o", corpus="d", speaker="s0")])) >= {"c: s0", "d: s0"}


@pytest.mark.slow
def test_a_missing_video_affects_only_its_cells(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    with FeatureStore(extracted / "feats.h5") as store:
        videos = sorted({utterance.video for utterance in store.utterances})
        frames = middle_frames(store, synthetic_corpus)
        by_id = {utterance.id: utterance for utterance in store.utterances}
    assert len(videos) > 1
    for video in videos[1:]:
        (tmp_path / video).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(synthetic_corpus / video, tmp_path / video)
    make_sheet(
        tmp_path / "s.png",
        extracted / "feats.h5",
        root=tmp_path,
        stream=None,
        per_speaker=2,
        speakers=0,
    )
    sheet = pixels(tmp_path / "s.png")
    for name, (frame, box) in frames.items():
        image = pixels(thumbnail(half(frame, by_id[name].crop), box))
        assert (find_image(image, sheet) is not None) == (by_id[name].video != videos[0])
