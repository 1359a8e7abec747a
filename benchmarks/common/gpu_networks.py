"""The encoders of benchmarks/gpu.py on one device, with random weights built from configurations: no network needed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from facenet_pytorch import InceptionResnetV1
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.padding import BatchInvariantModel
from foal.extract.encoders.inference import autocast
from foal.extract.face.batching import FaceExtractor, ImageEncoder
from foal.extract.face.config import FaceCrop
from foal.extract.face.detector import FaceDetector
from foal.extract.face.facenet import DEFAULT_BATCH, FACENET_WIDTH, FaceEncoder
from foal.extract.face.vision import VisionEncoder
from foal.extract.media.waveform import Wave
from foal.shared.config.settings import FaceSettings

LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embedding_groups": 4,
}
CLIP = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
TINY_CLIP = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


class Networks:
    """Encoders with equal weights on every device. Images are resized on the device, also where that is a CPU."""

    def __init__(self, device: torch.device, *, tiny: bool) -> None:
        self.device = device
        self._tiny = tiny
        self.detector = FaceDetector(min_face_fraction=0.1, min_probability=0.9, device=device)
        # A model is wrapped once: the wrapper replaces some of its layers.
        self._audio_model = cache(self._build_audio)
        self._wrapped = cache(lambda size: BatchInvariantModel(self._build_audio(size), device, normalize=True))
        self._facenet = cache(self._build_facenet)
        self._clip = cache(self._build_clip)

    def facenet(self, precision: str) -> FaceExtractor:
        encoder = FaceEncoder(model=self._facenet(), width=FACENET_WIDTH, device=self.device, precision=precision)
        return self._extractor(encoder, FaceCrop(shape="stretched", margin=0.0))

    def clip(self, precision: str) -> FaceExtractor:
        """CLIP ViT-L/14."""
        model = self._clip()
        encoder = VisionEncoder(
            model=model,
            processor=CLIPImageProcessor(),
            size=224,
            width=model.config.hidden_size,
            device=self.device,
            precision=precision,
        )
        return self._extractor(encoder, FaceCrop(shape="square", margin=0.2))

    def audio(self, size: str, precision: str, batch_seconds: float = 240.0) -> AudioEncoder:
        """wav2vec2-base or -large."""
        return AudioEncoder(
            model=self._wrapped(size),
            layers="last",
            device=self.device,
            precision=precision,
            batch_seconds=batch_seconds,
        )

    def documented_audio(self, size: str, precision: str) -> Callable[[Wave], object]:
        """One waveform at a time, as the library documents it."""
        processor = Wav2Vec2FeatureExtractor(do_normalize=True)
        model: Any = self._audio_model(size)
        model.to(self.device)

        @torch.inference_mode()
        def run(wave: Wave) -> object:
            inputs = processor(wave, sampling_rate=16000, return_tensors="pt").to(self.device)
            with autocast(self.device, precision):
                return model(**inputs).last_hidden_state.float().cpu().numpy()

        return run

    def documented_face(self, name: str, precision: str) -> Callable[[Any], object]:
        """One face at a time, as the libraries document it: an image of Pillow, or for facenet a cut face as well."""
        model = self._facenet() if name == "facenet" else self._clip()

        @torch.inference_mode()
        def run(face: Any) -> object:
            if name == "facenet":
                if not isinstance(face, torch.Tensor):
                    face = torch.tensor(list(face.resize((160, 160)).getdata())).reshape(160, 160, 3).permute(2, 0, 1)
                pixels = ((face.float() - 127.5) / 128)[None].to(self.device)
                with autocast(self.device, precision):
                    return model(pixels).float().cpu().numpy()
            inputs = CLIPImageProcessor()(face, return_tensors="pt").to(self.device)
            with autocast(self.device, precision):
                return model(**inputs).pooler_output.float().cpu().numpy()

        return run

    def _extractor(self, encoder: ImageEncoder, crop: FaceCrop) -> FaceExtractor:
        return FaceExtractor(
            detector=self.detector,
            encoder=encoder,
            settings=FaceSettings(),
            crop=crop,
            batch=DEFAULT_BATCH[self.device.type],
            on_device=True,
        )

    def _build_audio(self, size: str) -> Wav2Vec2Model:
        config = Wav2Vec2Config(**(TINY if self._tiny else LARGE if size == "large" else {}))  # type: ignore[arg-type]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Wav2Vec2Model(config).eval()

    def _build_facenet(self) -> InceptionResnetV1:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return InceptionResnetV1(pretrained=None).eval()

    def _build_clip(self) -> CLIPVisionModel:
        config = CLIPVisionConfig(**(TINY_CLIP if self._tiny else CLIP), image_size=224, patch_size=14)  # type: ignore[arg-type]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return CLIPVisionModel(config).eval()
