"""The pipelines of extraction with decoding, for benchmarks/gpu.py: in batches, one by one, and as documented."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from common.gpu_bench import Bench, Result
from common.gpu_use import Use, measured_use
from common.naive import choose_box
from facenet_pytorch import MTCNN, extract_face
from PIL import Image

from foal.extract.audio.pipeline import audio_entries
from foal.extract.face.batching import DETECTION_BATCH, FaceExtractor
from foal.extract.face.pipeline import face_entries
from foal.extract.media.media_group import MediaGroup, Results
from foal.extract.media.video import Segment, open_video
from foal.shared.errors import MediaError
from foal.shared.parallel.resources import available_cores, decode_bytes
from foal.shared.utterance import Utterance


def base(bench: Bench) -> Result:
    """wav2vec2-base and InceptionResnetV1, with the media."""
    result = pipelines(bench, "base", bench.networks.facenet(bench.precision))
    seconds, utterances = documented_pipeline(bench)
    result["documented_per_s"] = round(utterances / seconds, 3)
    result["speedup"] = round(result["utterances_per_s"] / result["documented_per_s"], 2)
    return result


def large(bench: Bench) -> Result:
    """wav2vec2-large and CLIP ViT-L/14, with the media."""
    return pipelines(bench, "large", bench.networks.clip(bench.precision))


def pipelines(bench: Bench, size: str, extractor: FaceExtractor) -> Result:
    """Audio and face one after the other, as the chunks of a worker, in batches and one by one."""
    decoders = max(1, min(8, available_cores()))
    budget = decode_bytes(32 << 30, gpu=True)
    with_batches: list[Use] = []
    alone: list[Use] = []
    for batched, uses in ((True, with_batches), (False, alone)):
        encoder = bench.networks.audio(size, bench.precision, **({} if batched else {"batch_seconds": 0.0}))
        face = extractor if batched else replace(extractor, batch=1)
        with patch.dict(DETECTION_BATCH, {} if batched else {bench.device.type: 1}):
            for results in (
                audio_entries(groups(bench, "audio"), encoder, decoders=decoders, budget=budget),
                face_entries(groups(bench, "face"), face, decoders=decoders, budget=budget),
            ):
                uses.append(consumed(bench, results))
    batched_s, single_s = (sum(use.seconds_per_utterance for use in uses) for uses in (with_batches, alone))
    media_s = statistics.fmean(row.seconds or 0.0 for row in bench.utterances)
    wall = sum(use.seconds_per_utterance for use in with_batches)
    result: Result = {
        "utterances_per_s": round(1 / batched_s, 3),
        "one_by_one_per_s": round(1 / single_s, 3),
        "batched_speedup": round(single_s / batched_s, 2),
        "realtime_factor": round(media_s / batched_s, 1),
        "decoders": decoders,
    }
    for name, use in zip(("audio", "face"), with_batches, strict=True):
        result |= {f"{name}_realtime_factor": round(media_s / use.seconds_per_utterance, 1)}
        result |= {f"{name}_cores": round(use.cores, 2), f"{name}_gpu_busy": use.gpu_busy}
    result["cores"] = round(sum(use.cores * use.seconds_per_utterance for use in with_batches) / wall, 2)
    if all(use.gpu_busy is not None for use in with_batches):
        busy = sum((use.gpu_busy or 0.0) * use.seconds_per_utterance for use in with_batches)
        result["gpu_busy"] = round(busy / wall, 3)
    return result


def groups(bench: Bench, modality: str) -> list[MediaGroup]:
    """More copies of the media than a pipeline handles in its time; read from one file each."""
    by_file: dict[str, list[Utterance]] = {}
    for row in bench.utterances:
        by_file.setdefault(row.media(modality), []).append(row)
    files = list(by_file.items()) * (1 if bench.tiny else 20_000 // len(by_file))
    return [
        MediaGroup(modality=modality, path=Path(f"/{path}"), fingerprint="", utterances=rows) for path, rows in files
    ]


def consumed(bench: Bench, results: Results) -> Use:
    """Take results until the time is over; the first ones, for which the queues fill, are not measured."""
    entries = iter(checked(results))
    warm_up = 0.0 if bench.tiny else bench.seconds / 3
    end = time.perf_counter() + warm_up
    while time.perf_counter() < end:
        next(entries)
    with measured_use(bench.device) as use:
        count = 0
        end = time.perf_counter() + (1e9 if bench.tiny else bench.seconds)
        for _ in entries:
            count += 1
            if time.perf_counter() > end:
                break
        use.utterances = count
    entries.close()  # type: ignore[attr-defined]
    return use


def checked(results: Results) -> Iterator[Utterance]:
    for utterance, entry in results:
        if isinstance(entry, MediaError) or not len(entry.values):
            raise SystemExit(f"{utterance.id}: expected features, got {entry}")
        yield utterance


def documented_pipeline(bench: Bench) -> tuple[float, int]:
    """Utterance by utterance, as in benchmarks/common/naive.py, on the device: seconds, and utterances done."""
    import decord

    mtcnn = MTCNN(keep_all=True, device=bench.device)
    face = bench.networks.documented_face("facenet", bench.precision)
    audio = bench.networks.documented_audio("base", bench.precision)
    audio(bench.waves[0])
    mtcnn.detect(bench.images[0])
    began, done = time.perf_counter(), 0
    for row, wave in zip(bench.utterances, bench.waves, strict=True):
        audio(wave)
        reader = decord.VideoReader(f"/{row.video}")
        last = None
        for index in open_video(Path(f"/{row.video}")).plan(Segment(start=row.start, end=row.end, fps=10.0)):
            picture = reader[int(max(0, index))].asnumpy()
            box = choose_box(mtcnn.detect(picture)[0], row, picture, last)
            if box is not None:
                last = box
                face(extract_face(Image.fromarray(picture), box))
        done += 1
        if time.perf_counter() - began > bench.seconds:
            break
    return time.perf_counter() - began, done
