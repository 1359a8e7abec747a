"""One vector per utterance: mean and standard deviation of its frames, for the baselines and for retrieval."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dataset import Dataset
from .normalization import frame_statistics
from .sequences import PackedSequences, frame_index

Part = Literal["mean", "std"]
ROWS_AT_ONCE = 256


def pooled_features(data: Dataset, parts: Sequence[Part] = ("mean",)) -> dict[str, NDArray[np.float32]]:
    """Pool the valid frames (and average the layers, if several are stored) of every utterance.

    Args:
        data: the dataset, n utterances.
        parts: mean, standard deviation, or both.

    Returns:
        By modality a table (n, parts * width); NaN for an utterance without valid frames.
    """
    tables = {
        name: torch.full((len(data), len(parts) * shape[-1]), torch.nan)
        for name, shape in data.features.frame_shapes.items()
    }
    for chunk in data.features.iter_chunks(torch.arange(len(data))):
        for name, stream in chunk.streams.items():
            blocks = zip(torch.split(chunk.rows, ROWS_AT_ONCE), torch.split(chunk.positions, ROWS_AT_ONCE), strict=True)
            for rows, positions in blocks:
                tables[name][rows] = _pooled(stream, positions, parts)
    return {name: table.numpy() for name, table in tables.items()}


def standardized_features(
    data: Dataset, train_rows: Tensor, parts: Sequence[Part] = ("mean",)
) -> dict[str, NDArray[np.float32]]:
    """Pooled features (n, parts * width) by modality, after the normalization that the dataset asks for.

    With speaker statistics, each speaker's frames are standardized with these, shrunk towards the statistics of the
    training group `train_rows`. Without, the pooled features are returned as they are: the baselines standardize them
    with the training group anyway.
    """
    tables = pooled_features(data, parts)
    if data.speaker_statistics is None:
        return tables
    for name, (fold_mean, fold_deviation) in frame_statistics(data.features, train_rows).items():
        speaker = data.speaker_statistics.of(name, torch.arange(len(data)), torch.device("cpu"))
        mean, deviation = speaker.shrunk(fold_mean, fold_deviation)
        if mean.dim() == 3:  # layers, whose values are averaged in the table
            mean, deviation = mean.mean(1), deviation.mean(1)
        centre = torch.cat([mean if part == "mean" else torch.zeros_like(mean) for part in parts], 1)
        scale = torch.cat([deviation for _ in parts], 1)
        tables[name] = (tables[name] - centre.numpy()) / scale.numpy()
    return tables


def _pooled(stream: PackedSequences, positions: Tensor, parts: Sequence[Part]) -> Tensor:
    index = frame_index(stream, positions)
    owner = torch.repeat_interleave(torch.arange(len(positions)), stream.lengths[positions])
    device_index = index.to(stream.values.device)
    valid = stream.valid[device_index].cpu()
    values = stream.values[device_index].float().cpu()
    values = (values.mean(1) if values.dim() == 3 else values)[valid]
    owner = owner[valid]
    counts = torch.bincount(owner, minlength=len(positions))[:, None]
    mean = _sums(values, owner, len(positions)) / counts
    pooled = {"mean": mean}
    if "std" in parts:
        pooled["std"] = (_sums((values - mean[owner]).square(), owner, len(positions)) / counts).sqrt()
    # Without valid frames the division above gives NaN.
    return torch.cat([pooled[part] for part in parts], 1)


def _sums(values: Tensor, owner: Tensor, n: int) -> Tensor:
    return torch.zeros(n, values.shape[-1]).index_add_(0, owner, values)
