"""Small datasets and networks, built in memory or from feats.h5."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.tests.figures import draw, save_blank
from foal.train.data.batches import collate
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch, PackedSequences
from foal.train.model.architecture import Architecture
from foal.train.model.foalnet import FoalNet, build_model

CLASSES = "abcdefgh"
KEYS = {"audio": "0" * 64, "face": "0" * 64}


@pytest.fixture(autouse=True)
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw the figures of runs, except in tests of their content (see `drawn_figures`)."""
    monkeypatch.setattr(Figure, "savefig", save_blank)


@pytest.fixture
def drawn_figures(blank_figures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures as in a real run."""
    monkeypatch.setattr(Figure, "savefig", draw)


def pack(sequences: Sequence[Tensor], valid: Sequence[Tensor] | None = None) -> PackedSequences:
    lengths = torch.tensor([0, *(len(frames) for frames in sequences)])
    flags = valid or [torch.ones(len(frames), dtype=torch.bool) for frames in sequences]
    return PackedSequences.of(torch.cat(list(sequences)), torch.cat(list(flags)), lengths.cumsum(0))


@pytest.fixture(scope="session")
def make_stream() -> Callable[..., PackedSequences]:
    """Build a stream from one (t, width) tensor per utterance, and optionally their valid flags."""
    return pack


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    """Build a dataset of n utterances of c classes, with the given labels and streams or with random streams."""

    def make(
        n: int = 24,
        *,
        c: int = 3,
        sessions: int | Sequence[str] = 3,
        labels: Sequence[int] | None = None,
        streams: dict[str, PackedSequences] | None = None,
        seed: int = 0,
    ) -> Dataset:
        rng = torch.Generator().manual_seed(seed)
        if streams is None:
            streams = {}
            for name, width in (("audio", 5), ("face", 4)):
                lengths = torch.randint(1, 9, (n,), generator=rng).tolist()
                frames = [torch.randn(t, width, generator=rng) for t in lengths]
                streams[name] = pack(frames, [torch.rand(t, generator=rng) < 0.8 for t in lengths])
        label = [i % c for i in range(n)] if labels is None else list(labels)
        session = [f"session{i // c % sessions + 1}" for i in range(n)] if isinstance(sessions, int) else sessions
        return Dataset(
            utterances=tuple(
                Utterance(
                    id=f"u{i}",
                    corpus="test",
                    session=session[i],
                    speaker=f"{session[i]}-{i % 2}",
                    label=CLASSES[label[i]],
                )
                for i in range(n)
            ),
            classes=tuple(CLASSES[:c]),
            labels=torch.tensor(label),
            features=InMemory(streams),
            rates=dict.fromkeys(streams, 10.0),
            stream_names={name: name for name in streams},
            provenance={name: {"random_weights": True} for name in streams},
        )

    return make


@pytest.fixture(scope="session")
def make_model() -> Callable[..., FoalNet]:
    """Build a small, seeded network for a dataset, in evaluation mode; `changes` are values of its Architecture."""

    def make(data: Dataset, *, dropout: float = 0.0, layers: int = 2, seed: int = 0, **changes: Any) -> FoalNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            small = Architecture(
                frame_shapes=dict(data.features.frame_shapes),
                classes=len(data.classes),
                width=16,
                heads=4,
                layers=layers,
                dropout=dropout,
                projection_dropout=dropout,
            )
            return build_model(replace(small, **changes)).eval()

    return make


@pytest.fixture(scope="session")
def batch_of() -> Callable[[Dataset, Tensor], Batch]:
    """Collate given rows of a dataset in memory, in their order."""

    def make(data: Dataset, rows: Tensor) -> Batch:
        (chunk,) = data.features.iter_chunks(rows)
        return collate(data, chunk, torch.arange(len(rows)), torch.device("cpu"))

    return make


@pytest.fixture
def make_index(make_features: Callable[..., Path]) -> Callable[..., Path]:
    """Build feats.h5 over random features of the given utterances, or with `reuse_shards` over existing shards."""

    def make(
        folder: Path, utterances: Sequence[Utterance], *, pack: bool = False, reuse_shards: bool = False, **options: Any
    ) -> Path:
        features = folder / "features"
        if not reuse_shards:
            make_features(features, utterances, **options)
        config_hashes = {name: KEYS[name] for name in options.get("widths") or KEYS}
        write_index(folder / "feats.h5", utterances, features, config_hashes, pack=pack)
        return folder / "feats.h5"

    return make


@pytest.fixture
def feats(tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """18 utterances of two classes in three sessions."""
    return make_index(tmp_path, sample_utterances)
