"""An index whose audio streams differ by fold: audio/ft-session1 to audio/ft-session3, beside one of faces."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance

SEEDS = {"session1": 1, "session2": 2, "session3": 3}
TEMPLATE = "audio/ft-{test}"


def write_fold_index(
    folder: Path,
    utterances: Sequence[Utterance],
    make_features: Callable[..., Path],
    *,
    seeds: Mapping[str, int] = SEEDS,
    widths: Sequence[int] = (8, 8, 8),
) -> Path:
    """Write feats.h5 with one audio stream per session, from the random numbers of its seed."""
    features = make_features(folder / "features", utterances, widths={"face": 6})
    config_hashes = {"face": "0" * 64}
    for number, (session, seed) in enumerate(seeds.items()):
        key = f"{number + 1}" * 64
        make_features(features, utterances, widths={"audio": widths[number]}, seed=seed, key=key)
        config_hashes[f"audio/ft-{session}"] = key
    write_index(folder / "feats.h5", utterances, features, config_hashes)
    return folder / "feats.h5"
