"""Small datasets and networks, made directly, without a store."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from foal.shared.utterance import Utterance
from foal.train.data import Stream
from foal.train.dataset import Dataset
from foal.train.features import InMemory
from foal.train.model import Architecture, FoalNet, build

torch.set_num_threads(1)  # on tensors this small, threads only wait for each other


def pack(sequences: Sequence[Tensor], valid: Sequence[Tensor] | None = None) -> Stream:
    lengths = torch.tensor([0, *(len(frames) for frames in sequences)])
    flags = valid or [torch.ones(len(frames), dtype=torch.bool) for frames in sequences]
    return Stream.of(torch.cat(list(sequences)), torch.cat(list(flags)), lengths.cumsum(0))


@pytest.fixture
def make_stream() -> Callable[..., Stream]:
    """From one (t, width) tensor per utterance, and optionally their validity."""
    return pack


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """n utterances of c classes over sessions and speakers, with the given streams or random ones."""

    def make(
        n: int = 24, *, c: int = 3, sessions: int = 3, streams: dict[str, Stream] | None = None, seed: int = 0
    ) -> Dataset:
        chance = torch.Generator().manual_seed(seed)
        if streams is None:
            streams = {}
            for name, width in (("audio", 5), ("face", 4)):
                lengths = torch.randint(1, 9, (n,), generator=chance).tolist()
                frames = [torch.randn(t, width, generator=chance) for t in lengths]
                streams[name] = pack(frames, [torch.rand(t, generator=chance) < 0.8 for t in lengths])
        sessions_of = [f"session{i // c % sessions + 1}" for i in range(n)]
        return Dataset(
            utterances=tuple(
                Utterance(id=f"u{i}", corpus="test", session=session, speaker=f"{session}-{i % 2}", label="abcdefgh"[i % c])
                for i, session in enumerate(sessions_of)
            ),
            classes=tuple("abcdefgh"[:c]),
            labels=torch.arange(n) % c,
            features=InMemory(streams),
            rates=dict.fromkeys(streams, 10.0),
            names={name: name for name in streams},
            provenance={name: {"random_weights": True} for name in streams},
        )

    return make


@pytest.fixture
def make_model() -> Callable[..., FoalNet]:
    """A small network for a dataset, seeded, in eval mode."""

    def make(data: Dataset, *, dropout: float = 0.0, layers: int = 2, seed: int = 0) -> FoalNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build(
                Architecture(
                    frame_shapes=dict(data.features.frame_shapes),
                    classes=len(data.classes), width=16, heads=4, layers=layers,
                    dropout=dropout, projection_dropout=dropout,
                )
            ).eval()  # fmt: skip

    return make
