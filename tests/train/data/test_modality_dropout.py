from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.modality_dropout import drop_frames, drop_modality, modality_dropout
from foal.train.data.sequences import Batch, Frames

BatchOf = Callable[[Dataset, Tensor], Batch]


def batch_with(audio: Tensor, face: Tensor) -> Batch:
    """A batch with one valid or invalid frame per utterance and modality; flags (b,)."""
    frames = {
        name: Frames(torch.ones(len(flags), 2, 1), torch.stack([flags, flags & False], 1))
        for name, flags in (("audio", audio), ("face", face))
    }
    return Batch(rows=torch.arange(len(audio)), labels=torch.zeros(len(audio), dtype=torch.int64), frames=frames)


def has_valid_frame(batch: Batch) -> Tensor:
    """Whether an utterance has a valid frame, by modality (b, 2)."""
    return torch.stack([frames.valid.any(1) for frames in batch.frames.values()], 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_audio_and_face_are_dropped_equally_often(share: float) -> None:
    complete = torch.ones(20_000, dtype=torch.bool)
    remaining = has_valid_frame(
        modality_dropout(batch_with(complete, complete), share, torch.Generator().manual_seed(0))
    )
    assert remaining.any(1).all()
    assert (~remaining).float().mean(0).tolist() == pytest.approx([share / 2] * 2, abs=0.015)
    assert (~remaining.all(1)).float().mean().item() == pytest.approx(share, abs=0.015)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_only_modality_is_never_dropped(flags: list[tuple[bool, bool]], share: float) -> None:
    audio, face = torch.tensor(flags).T
    before = torch.stack([audio, face], 1)
    after = has_valid_frame(modality_dropout(batch_with(audio, face), share, torch.Generator().manual_seed(1)))
    assert not (after & ~before).any()
    assert torch.equal(after[~before.all(1)], before[~before.all(1)])
    assert after[before.any(1)].any(1).all()


def test_each_of_three_inputs_is_lost_equally_often() -> None:
    complete = torch.ones(30_000, dtype=torch.bool)
    batch = batch_with(complete, complete)
    three = replace(batch, frames={**batch.frames, "text": batch.frames["audio"]})
    remaining = has_valid_frame(modality_dropout(three, 0.6, torch.Generator().manual_seed(0)))
    assert (~remaining).float().mean(0).tolist() == pytest.approx([0.2] * 3, abs=0.01)
    assert (~remaining).sum(1).max() == 1


def test_shares_by_modality_drop_inputs_independently_but_never_all() -> None:
    complete = torch.ones(30_000, dtype=torch.bool)
    batch = batch_with(complete, complete)
    three = replace(batch, frames={**batch.frames, "text/roberta": batch.frames["audio"]})
    shares = {"text": 0.5, "audio": 0.2}
    remaining = has_valid_frame(modality_dropout(three, shares, torch.Generator().manual_seed(0)))
    assert (~remaining).float().mean(0).tolist() == pytest.approx([0.2, 0.0, 0.5], abs=0.01)
    remaining = has_valid_frame(modality_dropout(batch, {"audio": 0.9, "face": 0.9}, torch.Generator().manual_seed(0)))
    assert remaining.any(1).all()


def test_remaining_frames_and_the_given_batch_are_unchanged(
    make_dataset: Callable[..., Dataset], batch_of: BatchOf
) -> None:
    batch = batch_of(make_dataset(), torch.arange(24))
    before = {name: frames.valid.clone() for name, frames in batch.frames.items()}
    after = modality_dropout(batch, 0.5, torch.Generator().manual_seed(0))
    assert not torch.equal(has_valid_frame(after), has_valid_frame(batch))
    assert torch.equal(after.labels, batch.labels)
    for column, (name, (values, valid, _)) in enumerate(batch.frames.items()):
        assert torch.equal(valid, before[name])  # the caller's batch is not modified
        assert torch.equal(after.frames[name].values, values)
        kept = has_valid_frame(after)[:, column]
        assert torch.equal(after.frames[name].valid[kept], valid[kept])
        assert not after.frames[name].valid[~kept].any()


def test_without_dropout_no_random_number_is_drawn(make_dataset: Callable[..., Dataset], batch_of: BatchOf) -> None:
    data = make_dataset()
    rng = torch.Generator().manual_seed(0)
    state = rng.get_state()
    batch = batch_of(data, torch.arange(24))
    assert modality_dropout(batch, 0.0, rng) is batch
    face_only = replace(batch, frames={"face": batch.frames["face"]})
    assert modality_dropout(face_only, 0.5, rng) is face_only  # the only modality
    assert torch.equal(rng.get_state(), state)
    modality_dropout(batch, 0.5, rng)
    assert not torch.equal(rng.get_state(), state)


@pytest.mark.parametrize("name", ["audio", "face"])
def test_dropping_a_modality_or_its_frames_keeps_the_other(
    make_dataset: Callable[..., Dataset], batch_of: BatchOf, name: str
) -> None:
    batch = batch_of(make_dataset(), torch.arange(24))
    other = "face" if name == "audio" else "audio"
    for changed in (drop_modality(batch, name), drop_frames(batch, name)):
        assert list(changed.frames) == ["audio", "face"]
        assert changed.frames[other] is batch.frames[other]
    assert not drop_modality(batch, name).frames[name].valid.any()
    valid, remaining = batch.frames[name].valid, drop_frames(batch, name).frames[name].valid
    assert torch.equal(remaining[:, ::2], valid[:, ::2])
    assert not remaining[:, 1::2].any()
