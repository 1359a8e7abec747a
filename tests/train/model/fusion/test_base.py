"""The time grid of several streams, and MEM's pairs on it."""

from collections.abc import Callable

import torch

from foal.train.model.fusion.base import Fused, FusionHead, Streams, common_frames, to_grid
from foal.train.model.pooling import Projected, masked_mean

MakeStreams = Callable[..., dict[str, Projected]]


def side(lengths: list[int], frames: int) -> Projected:
    values = torch.arange(float(len(lengths) * frames)).view(len(lengths), frames, 1)
    valid = torch.arange(frames) < torch.tensor(lengths)[:, None]
    return Projected(values, valid, torch.ones(len(lengths), dtype=torch.bool), values)


def test_a_grid_repeats_single_frames_where_other_streams_are_valid() -> None:
    grid = to_grid({"audio": side([3, 1, 4], 4), "face": side([2, 3, 1], 3)})
    assert {name: list(part.values.shape) for name, part in grid.items()} == {"audio": [3, 4, 1], "face": [3, 4, 1]}
    assert grid["audio"].valid.int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert grid["face"].valid.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert grid["audio"].values[1, :3, 0].tolist() == [4.0, 4.0, 4.0]
    assert grid["face"].values[0, :2, 0].tolist() == [0.0, 1.0]


def test_rows_of_single_frames_have_one_frame_on_the_grid() -> None:
    late = side([1], 3)._replace(valid=torch.tensor([[False, False, True]]))
    grid = to_grid({"audio": late, "face": side([1], 2)})
    assert grid["audio"].valid.tolist() == [[True, False, False]]
    assert grid["audio"].values[0, 0, 0] == 2.0
    assert grid["face"].valid.tolist() == [[True, False, False]]


def test_common_frames_are_valid_in_all_streams() -> None:
    grid = common_frames(to_grid({"audio": side([3, 2], 4), "face": side([2, 4], 4)}))
    for part in grid.values():
        assert part.valid.sum(1).tolist() == [2, 2]
    apart = {
        "audio": side([1], 2)._replace(valid=torch.tensor([[True, False]])),
        "face": side([1], 2)._replace(valid=torch.tensor([[False, True]])),
    }
    assert {name: part.valid.sum().item() for name, part in common_frames(apart).items()} == {"audio": 1, "face": 1}


class LengthHead(FusionHead):
    """Reads the difference of the numbers of frames, which would tell MEM whether a pair is an utterance's own."""

    width = 1
    on_grid = True

    def forward(self, streams: Streams) -> Fused:
        audio, face = (part.valid.sum(1).float() for part in to_grid(streams).values())
        return Fused((audio - face)[:, None])


def test_pairs_on_a_grid_have_equal_lengths_in_all_streams(make_streams: MakeStreams) -> None:
    rows = torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    pairs = LengthHead().fuse_pairs(make_streams(), {("audio", "face"): rows}).pairs["audio", "face"]
    assert pairs.shape == (2, 6, 1)
    assert (pairs == 0).all()


class MeansHead(FusionHead):
    width = 32

    def forward(self, streams: Streams) -> Fused:
        return Fused(torch.cat([masked_mean(part.values, part.valid) for part in streams.values()], -1))


def test_partners_replace_the_stream_that_is_read(make_streams: MakeStreams) -> None:
    streams = make_streams()
    own, other = torch.arange(6), torch.tensor([3, 4, 5, 0, 1, 2])
    result = MeansHead().fuse_pairs(streams, {("audio", "face"): torch.stack([own, other])})
    audio, face = (masked_mean(part.values, part.valid) for part in streams.values())
    torch.testing.assert_close(result.pairs["audio", "face"][1], torch.cat([audio, face[other]], -1))
    torch.testing.assert_close(result.own.vector, torch.cat([audio, face], -1))
