"""Small datasets and networks, made directly, without a store, and one made with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.train.data.batches import collate
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch, PackedSequences
from foal.train.model.foalnet import Architecture, FoalNet, build_model

torch.set_num_threads(1)  # on tensors this small, threads only wait for each other

CLASSES = "abcdefgh"
KEYS = {"audio": "0" * 64, "face": "0" * 64}


def pack(sequences: Sequence[Tensor], valid: Sequence[Tensor] | None = None) -> PackedSequences:
    lengths = torch.tensor([0, *(len(frames) for frames in sequences)])
    flags = valid or [torch.ones(len(frames), dtype=torch.bool) for frames in sequences]
    return PackedSequences.of(torch.cat(list(sequences)), torch.cat(list(flags)), lengths.cumsum(0))


@pytest.fixture(scope="session")
def make_stream() -> Callable[..., PackedSequences]:
    """From one (t, width) tensor per utterance, and optionally their validity."""
    return pack


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    """n utterances of c classes over sessions and speakers, with the given labels and streams or random ones."""

    def make(
        n: int = 24,
        *,
        c: int = 3,
        sessions: int | Sequence[str] = 3,
        labels: Sequence[int] | None = None,
        streams: dict[str, PackedSequences] | None = None,
        seed: int = 0,
    ) -> Dataset:
        chance = torch.Generator().manual_seed(seed)
        if streams is None:
            streams = {}
            for name, width in (("audio", 5), ("face", 4)):
                lengths = torch.randint(1, 9, (n,), generator=chance).tolist()
                frames = [torch.randn(t, width, generator=chance) for t in lengths]
                streams[name] = pack(frames, [torch.rand(t, generator=chance) < 0.8 for t in lengths])
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
    """A small network for a dataset, seeded, in eval mode."""

    def make(
        data: Dataset, *, dropout: float = 0.0, layers: int = 2, seed: int = 0, cosine_over_temperature: bool = False
    ) -> FoalNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_model(
                Architecture(
                    frame_shapes=dict(data.features.frame_shapes),
                    classes=len(data.classes),
                    width=16,
                    heads=4,
                    layers=layers,
                    dropout=dropout,
                    projection_dropout=dropout,
                    cosine_over_temperature=cosine_over_temperature,
                )
            ).eval()

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
    """Build feats.h5 over random features of given utterances; with `there`, over the existing shards."""

    def make(
        folder: Path, utterances: Sequence[Utterance], *, pack: bool = False, there: bool = False, **how: Any
    ) -> Path:
        features = folder / "features"
        if not there:
            make_features(features, utterances, **how)
        keys = {name: KEYS[name] for name in how.get("widths") or KEYS}
        write_index(folder / "feats.h5", utterances, features, keys, pack=pack)
        return folder / "feats.h5"

    return make


@pytest.fixture
def feats(tmp_path: Path, some_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """18 utterances of two classes in three sessions."""
    return make_index(tmp_path, some_utterances)
