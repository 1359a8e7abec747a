"""A warning at extraction about an encoder that was trained on labels of the corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.extract.run import extract
from foal.shared.config.settings import Settings
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance
from foal.tests.extract.encoders.small_wav2vec2 import SMALL


@pytest.mark.parametrize(("corpus", "warned"), [("iemocap", True), ("crema-d", False)])
def test_extraction_warns_of_an_encoder_that_saw_the_corpus(
    tmp_path: Path, messages: pytest.LogCaptureFixture, corpus: str, warned: bool
) -> None:
    model = tmp_path / "wav2vec2-base-superb-er"
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(model)
    Wav2Vec2FeatureExtractor().save_pretrained(model)
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus=corpus, session="s", label="x", audio="a.wav")])
    settings = Settings.model_validate(
        {
            "corpus": {"root": tmp_path, "manifest": tmp_path / "m.csv"},
            "extract": {"streams": ["audio"], "features_dir": tmp_path / "features", "audio": {"encoder": str(model)}},
        }
    )
    extract(settings, ["all"], index=None, dry_run=True)
    found = [record.getMessage() for record in messages.records if "encoder saw the corpus" in record.getMessage()]
    assert len(found) == warned
    if warned:
        assert (
            "was trained on labels of iemocap: it was fine-tuned on IEMOCAP (https://huggingface.co/superb/" in found[0]
        )
