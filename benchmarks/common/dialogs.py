"""Generated dialogs, full-size encoders, and runs of `foal extract` in separate processes."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from common.report import check_equal, check_measured
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.manifests.corpora.iemocap import build as read_dialogs
from foal.manifests.synthetic.cast import actor
from foal.manifests.synthetic.corpus import write_dialog
from foal.manifests.synthetic.portrait import Portrait
from foal.manifests.synthetic.script import GENDERS, ScriptTurn, plan_dialogs
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

COMMAND = [sys.executable, "-c", "from foal.shared.cli.main import main; main()", "extract"]
ONE_THREAD = ("--set", "cluster.threads=1")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Utterances, audio encoder and video frame rate; manifest and features are written to `folder`."""

    folder: Path
    encoder: Path
    fps: float
    utterances: Sequence[Utterance]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of `foal extract`: total seconds, and the peak resident set size of its largest worker in bytes."""

    seconds: float
    peak_bytes: float


def write_long_dialog(corpus: Path, session: int, seconds: float) -> None:
    """Write one dialog of at least this length by concatenating dialogs of the synthetic corpus."""
    turns: list[ScriptTurn] = []
    clock = 0.0
    short = [dialog for dialog in plan_dialogs(2000, 1) if dialog.session == session]
    while clock < seconds:
        dialog = short.pop(0)
        for turn in dialog.turns:
            name = f"Ses{session:02d}F_impro01_{turn.speaker}{len(turns):03d}"
            turns.append(replace(turn, id=name, start=round(turn.start + clock, 4), end=round(turn.end + clock, 4)))
        clock += dialog.seconds
    portraits = {gender: Portrait(actor(session, gender).face) for gender in GENDERS}
    # Without B-frames, which break access to frames by number in decord.
    joined = replace(
        dialog, name=f"Ses{session:02d}F_impro01", left_speaker="F", turns=tuple(turns), seconds=clock, b_frames=False
    )
    write_dialog(corpus / f"Session{session}", joined, portraits)


def read_rows(corpus: Path) -> list[Utterance]:
    """Return the utterances of the generated dialogs, all in one session."""
    generated = read_dialogs(corpus.absolute(), corpus="synthetic").utterances
    return [with_root_paths(utterance, corpus) for utterance in generated]


def with_root_paths(utterance: Utterance, root: Path) -> Utterance:
    """Make media paths relative to the root of the file system, so that dialogs and clips fit in one manifest."""
    audio, video = ((root / path).resolve().as_posix().lstrip("/") for path in (utterance.audio, utterance.video))
    return replace(utterance, audio=audio, video=video, session="bench", fold="")


def copies(corpus: Path, count: int) -> list[Utterance]:
    """Return `count` utterances, from as many copies of the dialog's video as necessary."""
    rows = read_rows(corpus)
    many: list[Utterance] = []
    while len(many) < count:
        number = len(many) // len(rows)
        video = corpus / f"{number}.avi"
        if not video.exists():
            shutil.copy(f"/{rows[0].video}", video)
        name = video.resolve().as_posix().lstrip("/")
        many += [replace(row, id=f"{row.id}-{number}", video=name) for row in rows]
    return many[:count]


def save_encoder(folder: Path, *, tiny: bool) -> Path:
    """Save a wav2vec2-base model with seeded random weights, of full size unless `tiny`; return its folder."""
    config = Wav2Vec2Config()
    if tiny:
        config = Wav2Vec2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=[32] * 7
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Wav2Vec2Model(config).save_pretrained(folder / "wav2vec2-base")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "wav2vec2-base")
    return folder / "wav2vec2-base"


def write_workload(work: Workload) -> None:
    """Write the manifest and `work.json` to the folder, for `read_workload` in another process."""
    write_manifest(work.folder / "m.csv", work.utterances)
    (work.folder / "work.json").write_text(json.dumps({"encoder": str(work.encoder), "fps": work.fps}))


def read_workload(folder: Path) -> Workload:
    values = json.loads((folder / "work.json").read_text())
    return Workload(
        folder=folder, encoder=Path(values["encoder"]), fps=values["fps"], utterances=read_manifest(folder / "m.csv")
    )


def extract(work: Workload, name: str, *options: str, watch: bool = True) -> Run:
    """Run `foal extract` over all utterances into the folder `name`, and check that all were extracted.

    With `watch`, the memory of its child processes is sampled several times a second.
    """
    write_workload(work)
    command = [*COMMAND, "--split", "all", "--manifest", "m.csv", "--root", "/", "--features-dir", name]
    command += ["--audio-encoder", str(work.encoder), "--face-encoder", "random:facenet", "--fps", str(work.fps)]
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen([*command, "--dtype", "float32", *options], cwd=work.folder, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max([peak, *(child.memory_info().rss for child in watched.children(recursive=True) if watch)])
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"foal extract ended with exit code {process.returncode}")
    with FeatureStore(work.folder / name / "feats.h5") as store:
        check_equal(f"{name}: ids", [row.id for row in store.utterances], [row.id for row in work.utterances])
        for stream in ("audio", "face"):
            check_equal(f"{name}: utterances with {stream}", int((store.lengths(stream) > 0).sum()), len(store))
            frames = f"{name}: frames of {stream}"
            check_measured({frames: int(store.valid_frames(stream).sum())}, frames)
    return Run(seconds=seconds, peak_bytes=peak)
