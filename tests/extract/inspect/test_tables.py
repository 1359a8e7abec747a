"""The tables, the CSV file and the JSON object of `foal inspect` contain the values of the store."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.inspect.tables import check_shards, check_table, describe, summary, write_table
from foal.shared.errors import UsageError
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance

Foal = Callable[..., subprocess.CompletedProcess[str]]
KEY = "0" * 64
CLIPPING = (0.0, 0.25, 0.0005, None)
SILENCE = (0.1, 0.9, 0.51, None)
DECODED = (1.0, 0.4, 1.0, None)
FACES = (10, 8, 0, None)
FACES_PER_FRAME = (1.0, 2.0, 0.0, None)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """An index of four utterances; the third has a comma in its speaker, the last has neither audio nor video."""
    utterances = [
        Utterance(
            id=f"u{n}", corpus="c", session="one", speaker="a,b" if n == 2 else "a", label="hap", video=f"{n}.mp4"
        )
        for n in range(4)
    ]
    for stream in ("audio", "face"):
        header = ShardHeader(
            modality=stream,
            config_hash=KEY,
            rate_hz=10.0,
            encoder="random:test",
            revision="",
            weights="0",
            random_weights=True,
            config={"region": "face"} if stream == "face" else {},
        )
        with ShardWriter(tmp_path / "f" / "one" / f"{stream}-00000000" / "a.h5", header, dtype="float16") as writer:
            for number, utterance in enumerate(utterances):
                faces, clipping, silence, decoded = FACES[number], CLIPPING[number], SILENCE[number], DECODED[number]
                length = 0 if faces is None else 10
                quality = {}
                if stream == "face" and (several := FACES_PER_FRAME[number]) is not None:
                    quality = {"faces": several} | ({"probability": 0.987654} if faces else {})
                elif stream == "audio" and clipping is not None and silence is not None and decoded is not None:
                    quality = {"clipping": clipping, "silence": silence, "decoded": decoded}
                writer.add(
                    Entry(
                        id=utterance.id,
                        values=np.zeros((length, 3), np.float32),
                        origin=0.0,
                        media="",
                        valid=np.arange(length) < (faces or 0) if stream == "face" else np.ones(length, bool),
                        source=utterance.source(stream),
                        note="" if length else f"no {stream} track",
                        quality=quality,
                    )
                )
    write_manifest(tmp_path / "m.csv", utterances)
    write_index(tmp_path / "feats.h5", utterances, tmp_path / "f", {"audio": KEY, "face": KEY})
    return tmp_path / "feats.h5"


def test_the_csv_file_contains_the_values_of_the_store(store_path: Path, tmp_path: Path) -> None:
    assert write_table(tmp_path / "q.csv", store_path) == f"{tmp_path / 'q.csv'}: quality measures of 4 utterances"
    with (tmp_path / "q.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with FeatureStore(store_path) as store:
        assert [row["id"] for row in rows] == [utterance.id for utterance in store.utterances]
        assert [row["speaker"] for row in rows] == ["a", "a", "a,b", "a"]
        assert {(row["corpus"], row["split"], row["session"], row["label"]) for row in rows} == {
            ("c", "one", "one", "hap")
        }
        for stream in ("audio", "face"):
            assert [int(row[f"{stream}:frames"]) for row in rows] == store.lengths(stream).tolist()
            assert [int(row[f"{stream}:valid"]) for row in rows] == store.valid_frames(stream).tolist()
            assert [row[f"{stream}:note"] for row in rows] == store.notes(stream)
            for name, values in store.quality(stream).items():
                written = [float(row[f"{stream}:{name}"] or "nan") for row in rows]
                np.testing.assert_allclose(written, values, rtol=1e-4)
    assert rows[1]["face:probability"] == "0.9877"
    assert [row["face:faces"] for row in rows] == ["1", "2", "0", ""]
    assert rows[2]["face:face_rate"] == "0"
    assert [row["audio:decoded"] for row in rows] == ["1", "0.4", "1", ""]
    assert rows[3]["face:face_rate"] == rows[3]["audio:clipping"] == rows[2]["face:probability"] == ""


def test_only_an_existing_table_is_replaced_without_force(store_path: Path, tmp_path: Path) -> None:
    table = tmp_path / "new" / "q.csv"
    write_table(table, store_path)
    first = table.read_bytes()
    table.write_bytes(first + b"more\n")
    write_table(table, store_path)
    assert table.read_bytes() == first
    # A manifest begins with the column id, too.
    for path in (tmp_path / "m.csv", store_path, tmp_path):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(UsageError, match=r"exists and is not a table of `foal inspect`; .*--force"):
            write_table(path, store_path)
        assert path.is_dir() or path.read_bytes() == before
        check_table(path, force=True)
    check_table(tmp_path / "another.csv")
    (tmp_path / "other.csv").write_text("my own table")
    write_table(tmp_path / "other.csv", store_path, force=True)
    assert (tmp_path / "other.csv").read_bytes() == first


def test_the_summary_is_json_with_the_values_of_the_store(store_path: Path) -> None:
    result = json.loads(json.dumps(summary(store_path), allow_nan=False))
    with FeatureStore(store_path) as store:
        assert result["content"] == store.digest
    assert result["utterances"] == 4
    assert result["classes"] == {"one": {"hap": 4}}
    assert not result["packed"]
    assert result["shards"] == 2
    audio, face = result["streams"]["audio"], result["streams"]["face"]
    assert audio["encoder"] == "random:test"
    assert audio["random_weights"]
    assert audio["config_hash"] == KEY
    assert (audio["frame_shape"], audio["dtype"], audio["rate_hz"]) == ([3], "float16", 10.0)
    assert (audio["frames"], audio["valid_frames"], audio["utterances"]) == (30, 30, 3)
    assert (face["frames"], face["valid_frames"], face["utterances"]) == (30, 18, 2)
    assert audio["quality"]["decoded"] == pytest.approx((1 + 0.4 + 1) / 3)
    assert face["quality"]["face_rate"] == pytest.approx(0.6)
    assert "decoded" not in face["quality"]


def test_missing_shards_are_reported_after_the_tables(store_path: Path, foal_here: Foal) -> None:
    with FeatureStore(store_path) as store:
        shards = store.shard_paths
    assert summary(store_path)["missing_shards"] == []
    check_shards(store_path)
    shards[0].unlink()
    assert summary(store_path)["missing_shards"] == [str(shards[0])]
    result = foal_here("inspect", store_path, "--json")
    assert result.returncode == 1
    assert "utterances with data" in result.stdout
    assert json.loads(result.stdout.splitlines()[-1])["missing_shards"] == [str(shards[0])]
    assert f"but 1 do not exist, such as {shards[0]}; move them back" in result.stderr


def test_the_quality_of_a_stream_is_one_line(store_path: Path) -> None:
    lines = [part for part in describe(store_path) if isinstance(part, str)]
    (audio,) = [line for line in lines if line.startswith("audio quality")]
    (face,) = [line for line in lines if line.startswith("face quality")]
    assert (
        "1 of 3 utterances with more than 0.1% clipped samples; 2 of 3 silent for more than half of their duration"
        in audio
    )
    assert audio.endswith("; 1 of 3 only partly decoded (u1)")
    assert "decoded" not in face
    assert face == (
        "face quality: face rate mean 0.600, 5th percentile 0.080; detection probability mean 0.988; "
        "1 of 3 utterances with more than one face (u1)"
    )


def test_missing_quality_measures_are_omitted(tmp_path: Path) -> None:
    """Imported features have no quality measures."""
    utterance = Utterance(id="u", corpus="c", audio="a.wav")
    header = ShardHeader(
        modality="audio",
        config_hash=KEY,
        rate_hz=50.0,
        encoder="imported",
        revision="",
        weights="",
        random_weights=False,
        config={},
    )
    with ShardWriter(tmp_path / "f" / "c" / "audio-00000000" / "a.h5", header, dtype="float16") as writer:
        writer.add(
            Entry(
                id="u",
                values=np.zeros((2, 3), np.float32),
                valid=np.ones(2, bool),
                origin=0.0,
                media="",
                source=utterance.source("audio"),
            )
        )
    write_index(tmp_path / "feats.h5", [utterance], tmp_path / "f", {"audio": KEY})
    lines = [str(part).replace(str(tmp_path), "") for part in describe(tmp_path / "feats.h5")]
    assert not [line for line in lines if "quality" in line]
    write_table(tmp_path / "q.csv", tmp_path / "feats.h5")
    assert (tmp_path / "q.csv").read_text().splitlines() == [
        "id,corpus,split,session,speaker,label,audio:frames,audio:valid,audio:note",
        "u,c,c,,,,2,2,",
    ]
