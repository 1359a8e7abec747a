"""Chunks contain every utterance once, do not divide media files, and depend only on the utterances."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.extract.schedule.plan import (
    MAX_CHUNK_SECONDS,
    MAX_CHUNKS,
    MAX_CHUNKS_PER_GPU_WORKER,
    MIN_CHUNK_SECONDS,
    Chunk,
    bisect,
    chunk_length,
    group_by_media,
    in_part,
    plan_chunks,
)
from foal.shared.files.part import Part
from foal.shared.utterance import Utterance, link_turns


@st.composite
def corpora(draw: st.DrawFn) -> list[Utterance]:
    rows = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.floats(0.5, 30)), min_size=1, max_size=40))
    return [
        Utterance(
            id=f"u{n}", session=f"session{s}", audio=f"{n}.wav", video=f"{s}-{dialog}.avi", start=0.0, end=seconds
        )
        for n, (s, dialog, seconds) in enumerate(rows)
    ]


def lengths(utterances: list[Utterance]) -> dict[str, float]:
    return {utterance.id: utterance.seconds or 0.0 for utterance in utterances}


@given(corpora(), st.sampled_from(["audio", "face"]), st.floats(1, 120))
def test_every_utterance_is_planned_once_and_media_files_are_not_divided(
    utterances: list[Utterance], modality: str, chunk_seconds: float
) -> None:
    chunks = plan_chunks(utterances, modality, lengths(utterances), chunk_seconds=chunk_seconds)
    planned = [utterance.id for chunk in chunks for utterance in chunk.utterances]
    assert sorted(planned) == sorted(utterance.id for utterance in utterances)
    for chunk in chunks:
        assert {utterance.split for utterance in chunk.utterances} == {chunk.split}
    media = [(chunk.split, path) for chunk in chunks for path in {u.media(modality) for u in chunk.utterances}]
    assert len(media) == len(set(media))


@given(corpora(), st.sampled_from(["audio", "face"]), st.floats(1, 120))
def test_chunks_are_full_except_the_last_and_exceed_the_limit_by_one_file_at_most(
    utterances: list[Utterance], modality: str, chunk_seconds: float
) -> None:
    chunks = plan_chunks(utterances, modality, lengths(utterances), chunk_seconds=chunk_seconds)
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        if following is not None and following.split == chunk.split:
            assert chunk.seconds >= chunk_seconds
        last = chunk.utterances[-1].media(modality)
        rest = sum(u.seconds or 0.0 for u in chunk.utterances if u.media(modality) != last)
        assert rest < chunk_seconds


@given(corpora(), st.sampled_from(["audio", "face"]))
def test_a_chunk_is_grouped_by_media_file(utterances: list[Utterance], modality: str) -> None:
    for chunk in plan_chunks(utterances, modality, lengths(utterances), chunk_seconds=30):
        media_chunks = group_by_media(chunk)
        assert sorted(u.id for media_chunk in media_chunks for u in media_chunk.utterances) == sorted(
            u.id for u in chunk.utterances
        )
        assert all(len({u.media(modality) for u in media_chunk.utterances}) == 1 for media_chunk in media_chunks)
        assert len({media_chunk.name for media_chunk in media_chunks}) == len(media_chunks)
        assert abs(sum(media_chunk.seconds for media_chunk in media_chunks) - chunk.seconds) < 1e-6


@given(corpora(), st.sampled_from(["audio", "face"]), st.floats(1, 60), st.data())
def test_lost_shards_are_planned_again_with_the_same_names(
    utterances: list[Utterance], modality: str, chunk_seconds: float, data: st.DataObject
) -> None:
    chunks = plan_chunks(utterances, modality, lengths(utterances), chunk_seconds=chunk_seconds)
    lost = data.draw(st.lists(st.sampled_from(chunks), unique_by=lambda chunk: chunk.name))
    ids = {utterance.id for chunk in lost for utterance in chunk.utterances}
    replanned = plan_chunks(
        [utterance for utterance in utterances if utterance.id in ids],
        modality,
        lengths(utterances),
        chunk_seconds=chunk_seconds,
    )
    assert {chunk.name for chunk in replanned} == {chunk.name for chunk in lost}


SECONDS_LEFT = st.floats(0, 1e9)


@given(SECONDS_LEFT, SECONDS_LEFT, st.integers(1, 40), st.integers(0, 100))
def test_chunks_become_longer_with_what_is_left_within_their_limits(
    left: float, more: float, layers: int, gpu_workers: int
) -> None:
    length = chunk_length(left, setting=0, layers=layers, gpu_workers=gpu_workers)
    assert MIN_CHUNK_SECONDS <= length <= max(MIN_CHUNK_SECONDS, MAX_CHUNK_SECONDS / layers)
    assert chunk_length(left + more, setting=0, layers=layers, gpu_workers=gpu_workers) >= length
    assert chunk_length(left, setting=0, layers=layers + 1, gpu_workers=gpu_workers) <= length
    assert chunk_length(left, setting=0, layers=layers) <= length, "GPUs never make them shorter"
    if length < MAX_CHUNK_SECONDS / layers:
        assert left / length <= MAX_CHUNKS * (1 + 1e-9)
        assert not gpu_workers or left / length <= MAX_CHUNKS_PER_GPU_WORKER * gpu_workers * (1 + 1e-9)


@given(SECONDS_LEFT, st.floats(1e-9, 1e6), st.integers(1, 40), st.integers(0, 100))
def test_a_length_that_is_set_is_used(left: float, setting: float, layers: int, gpu_workers: int) -> None:
    assert chunk_length(left, setting=setting, layers=layers, gpu_workers=gpu_workers) == setting


@pytest.mark.parametrize(
    ("hours", "layers", "gpu_workers", "expected"),
    [
        (0, 1, 0, 60),
        (12.5, 1, 0, 60),  # IEMOCAP on CPUs
        (100, 1, 0, 180),
        (1250, 1, 0, 600),
        (1, 1, 1, 60),
        (12.5, 1, 4, 45000 / 256),
        (12.5, 1, 1, 600),
        (1250, 4, 8, 150),
        (1250, 13, 0, 60),
    ],
)
def test_lengths_of_chunks(hours: float, layers: int, gpu_workers: int, expected: float) -> None:
    length = chunk_length(hours * 3600, setting=0, layers=layers, gpu_workers=gpu_workers)
    assert length == pytest.approx(expected)


def test_bisect_cuts_between_files_then_between_utterances() -> None:
    utterances = tuple(
        Utterance(id=f"u{number}", corpus="c", audio=f"{number % 3}.wav", start=float(number), end=number + 1.0)
        for number in range(6)
    )
    chunk = Chunk(stream="audio", split="c", utterances=utterances, seconds=6.0)
    first, second = bisect(chunk)
    assert [u.id for u in first.utterances] == ["u0", "u3"]
    assert [u.id for u in second.utterances] == ["u1", "u4", "u2", "u5"]
    assert first.seconds + second.seconds == pytest.approx(6.0)
    halves = bisect(first)
    assert [half.utterances[0].id for half in halves] == ["u0", "u3"]
    assert bisect(halves[0]) == []


def test_text_is_cut_between_any_utterances_and_carries_its_context_alone() -> None:
    turns = [
        Utterance(id=f"u{n}", session="s", audio="a.wav", transcript=f"word {n}", dialog="d", turn=n) for n in range(9)
    ]
    link_turns(turns)
    chunks = plan_chunks(turns, "text", {turn.id: 1.0 for turn in turns}, chunk_seconds=4, context=2)
    assert [len(chunk.utterances) for chunk in chunks] == [4, 4, 1]
    assert [len(part.utterances) for part in group_by_media(chunks[0])] == [1] * 4
    assert [len(half.utterances) for half in bisect(chunks[0])] == [2, 2]
    # A worker gets the turns that the encoder reads, not the whole dialog.
    assert [turn.id for turn in pickle.loads(pickle.dumps(chunks[1])).utterances[0].before(9)] == ["u2", "u3"]
    assert pickle.loads(pickle.dumps(chunks[1])).name == chunks[1].name
    for chunk in chunks:
        assert [chunk.source(utterance) for utterance in chunk.utterances] == [
            turns[int(utterance.id[1:])].source("text", 2) for utterance in chunk.utterances
        ]
    corrected = [replace(turn, transcript="other", previous=None) if turn.id == "u0" else turn for turn in turns]
    link_turns(corrected)
    names = [chunk.name for chunk in plan_chunks(
        corrected, "text", {turn.id: 1.0 for turn in turns}, chunk_seconds=4, context=2
    )]  # fmt: skip
    assert names[0] != chunks[0].name
    assert names[1:] == [chunk.name for chunk in chunks[1:]]


def part_numbers(utterances: list[Utterance], count: int) -> dict[str, list[int]]:
    """The parts that hold each utterance, by id."""
    numbers = range(1, count + 1)
    return {u.id: [n for n in numbers if in_part(u, Part(number=n, count=count))] for u in utterances}


@given(corpora(), st.integers(1, 5))
def test_an_utterance_is_in_one_part_and_a_video_is_not_divided(utterances: list[Utterance], count: int) -> None:
    numbers = part_numbers(utterances, count)
    assert all(len(found) == 1 for found in numbers.values())
    assert len({(u.video, *numbers[u.id]) for u in utterances}) == len({u.video for u in utterances})
    # Neither other rows nor other columns have an influence.
    fewer = [replace(u, label="sad", start=0.25, end=None) for u in utterances[::2]]
    assert part_numbers(fewer, count).items() <= numbers.items()


def test_the_part_is_that_of_the_video_else_of_the_audio_file_else_of_the_id() -> None:
    text = Utterance(id="caf\u00e9.wav", transcript="words")
    sound = Utterance(id="a", audio="cafe\u0301.wav")
    both = Utterance(id="b", audio="0.wav", video="caf\u00e9.wav")
    numbers = part_numbers([text, sound, both], 1000)
    assert numbers["caf\u00e9.wav"] == numbers["a"] == numbers["b"]
