"""Leakage: on features without information, an unbiased protocol scores chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.store.catalog import shard_folder
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance
from foal.train.run import train

KEY = "0" * 64
N, SESSIONS, CLASSES = 240, 5, 4
LONG = TrainSettings(
    width=8,
    heads=1,
    layers=1,
    epochs=20,
    early_stopping_patience=20,
    batch_size=128,
    learning_rate=3e-2,
    schedule="constant",
    warmup=0.0,
    select="ua",
    refit=False,
    avel=False,
    mem=False,
)


def write_noise(features: Path, utterances: Sequence[Utterance], widths: dict[str, int]) -> None:
    rng = np.random.default_rng(5)
    for modality, width in widths.items():
        header = ShardHeader(
            modality=modality,
            config_hash=KEY,
            rate_hz=10.0,
            encoder="noise",
            revision="",
            weights="0",
            random_weights=True,
            config={},
        )
        for session in sorted({utterance.session for utterance in utterances}):
            with ShardWriter(shard_folder(features, session, modality, KEY) / "a.h5", header, dtype="float16") as shard:
                for utterance in utterances:
                    if utterance.session == session:
                        values = rng.normal(size=(2, width)).astype(np.float32)
                        shard.add(
                            Entry(
                                id=utterance.id,
                                values=values,
                                valid=np.ones(2, bool),
                                origin=0.0,
                                source=utterance.source(modality),
                                media="",
                            )
                        )


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sessions of two speakers with random labels and features."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(4)
    labels = np.concatenate([rng.permutation(np.arange(N // SESSIONS) % CLASSES) for _ in range(SESSIONS)])
    utterances = [
        Utterance(
            id=f"u{i:03}",
            corpus="noise",
            session=f"session{i * SESSIONS // N + 1}",
            speaker=f"s{i * SESSIONS // N}-{i % 2}",
            label="abcd"[labels[i]],
            audio=f"{i}.wav",
            video=f"{i}.mp4",
        )
        for i in range(N)
    ]
    write_noise(folder / "features", utterances, {"audio": 8, "face": 6})
    write_index(folder / "feats.h5", utterances, folder / "features", {"audio": KEY, "face": KEY})
    return folder / "feats.h5"


def ua_of(noise: Path, out: Path, **changes: Any) -> float:
    """UA on the test groups."""
    metrics = train(Settings(train=LONG.model_copy(update=changes)), noise, out)
    assert metrics["selected_on_test"] == (changes["protocol"] == "loso-reference")
    ua: float = metrics["ua_mean"]
    return ua


@pytest.mark.slow
def test_noise_scores_chance_unless_the_epoch_is_selected_on_test(noise: Path, tmp_path: Path) -> None:
    chance = 1 / CLASSES
    nested = ua_of(noise, tmp_path / "nested", protocol="loso-nested")
    reference = ua_of(noise, tmp_path / "reference", protocol="loso-reference")
    assert abs(nested - chance) < 0.07
    assert reference > max(nested, chance) + 0.05


def test_noise_scores_chance_with_nested_speakers(noise: Path, tmp_path: Path) -> None:
    changes = {"protocol": "speakers-nested", "epochs": 4, "seeds": (0, 1, 2)}
    assert abs(ua_of(noise, tmp_path / "run", **changes) - 1 / CLASSES) < 0.06
