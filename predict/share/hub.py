"""`foal.load` and `FoalModel`: a trained model from a folder or from the Hugging Face hub."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from numpy.typing import NDArray

from ...shared.cli.console import quiet_console
from ...shared.config.settings import ClusterSettings, Settings
from ...shared.errors import UsageError
from ...shared.timing import Seconds
from ..arrays import write_clip
from ..extraction.cache import cache_folder
from ..output.tables import table_rows
from ..run import PredictOptions, predict_with
from ..sources import find_clips
from ..trained import Predicted, StatisticsOf, TrainedModel, load_trained, open_unlabelled
from .folder import write_files


@dataclass(frozen=True, kw_only=True)
class MediaPredictions:
    """What `FoalModel.predict` gives.

    Attributes:
        rows: a dict per clip, segment, face or window: id, media, part, start and end in seconds, predicted, p_NAME of
            each class, ratings, missing (inputs without data), note.
        failures: clips that could not be predicted, with the reason.
        warnings: what limits the meaning of the predictions, such as encoders with random weights.
    """

    rows: list[dict[str, Any]]
    failures: dict[str, str]
    warnings: tuple[str, ...]

    @property
    def table(self) -> Any:
        """The rows as a pandas DataFrame; raises ImportError where pandas is not installed."""
        import pandas

        return pandas.DataFrame(self.rows)


class FoalModel(ModelHubMixin, library_name="foal"):
    """A trained model, with `from_pretrained`, `save_pretrained` and `push_to_hub` of huggingface_hub.

    Example:
        model = foal.load("runs/main")
        print(model.predict("clip.mp4").rows)
        predicted = model.predict_features("feats.h5")
        model.push_to_hub("USER/NAME", private=True)
        again = foal.FoalModel.from_pretrained("USER/NAME")

    Args:
        trained: the networks, and what they read and predict.
    """

    # The mixin would build a configuration from the arguments; `save_pretrained` writes config.json itself.
    _hub_mixin_config: Any = {}  # noqa: RUF012

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; empty for a model of ratings only."""
        return self.trained.classes

    @property
    def ratings(self) -> tuple[str, ...]:
        """Rated dimensions; may be empty."""
        return self.trained.ratings

    def predict(
        self,
        clips: str | Path | Sequence[str | Path] | None = None,
        *,
        waveform: NDArray[Any] | None = None,
        sample_rate_hz: int | None = None,
        frames: NDArray[np.uint8] | None = None,
        fps: float | None = None,
        window: Seconds | None = None,
        hop: Seconds = 1.0,
        segments: Literal["vad", "fixed"] | None = None,
        all_faces: bool = False,
        encoders: Mapping[str, str] | None = None,
        cache: str | Path | None = None,
    ) -> MediaPredictions:
        """Predict media files, or one clip that is given as arrays.

        The encoders are those of the training. Features of files are kept in a cache, as by `foal predict`.

        Args:
            clips: media files, folders, patterns or manifests (.csv).
            waveform: the sound of a clip, (samples,) or (samples, channels), floats from -1 to 1 or signed integers.
            sample_rate_hz: its sampling rate.
            frames: the pictures of a clip, (n, height, width, 3) uint8 RGB.
            fps: pictures per second.
            window: predict windows of this length, in seconds, as well.
            hop: distance of the windows, in seconds.
            segments: cut the clips into stretches of speech, or into pieces of `window` seconds.
            all_faces: predict each face of a clip on its own.
            encoders: folder or name of a stream's encoder, if the recorded one is not on this machine.
            cache: folder of cached features (None: foal/features in the user's cache).

        Raises:
            UsageError: no clip, files and arrays at once, or arrays of another shape.
            FoalError: an encoder cannot be loaded, or no clip could be predicted.
        """
        arrays = waveform is not None or frames is not None
        if arrays == (clips is not None):
            raise UsageError("predict: expected media files, or waveform and frames of one clip; got both or neither")
        with quiet_console(), tempfile.TemporaryDirectory(prefix="foal-") as temporary:
            if arrays:
                sources = [str(write_clip(Path(temporary), waveform, sample_rate_hz, frames, fps))]
                folder = Path(temporary) / "features"  # never found again
            else:
                assert clips is not None
                sources = [str(clips)] if isinstance(clips, str | Path) else [str(clip) for clip in clips]
                folder = cache_folder() if cache is None else Path(cache)
            options = PredictOptions(
                encoders=tuple(f"{stream}={name}" for stream, name in (encoders or {}).items()),
                features=folder,
                window=None if segments == "fixed" else window,
                hop=hop,
                segments=segments,
                piece=window or PredictOptions.piece,
                all_faces=all_faces,
            )
            settings = Settings(cluster=ClusterSettings(device=str(self.trained.device)))
            result = predict_with(self.trained, find_clips(sources, root=Path()), settings, options)
        failures = {failed.name: failed.reason for failed in result.failures}
        return MediaPredictions(rows=table_rows(result), failures=failures, warnings=result.warnings)

    def predict_features(self, features: Path | str, *, speaker_statistics: StatisticsOf = "fold") -> Predicted:
        """Predict all utterances of feats.h5; see `TrainedModel.predict` and `open_unlabelled`."""
        with open_unlabelled(self.trained, Path(features)) as data:
            return self.trained.predict(data, speaker_statistics=speaker_statistics)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_files(self.trained, save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Self:
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        return cls(load_trained(Path(folder), **model_kwargs))


def load(source: Path | str, *, fold: int | None = None, final: bool = False, device: str = "cpu") -> FoalModel:
    """Load a trained model.

    Args:
        source: the folder of a run, one under its models/, or a folder of `foal export`.
        fold: only the networks that did not see the test group of this fold.
        final: the networks that `foal train --final` trained on all utterances.
        device: device of the networks, such as cuda.

    Raises:
        FoalError: there is no such model, or it cannot be read.
    """
    return FoalModel(load_trained(Path(source), fold=fold, final=final, device=torch.device(device)))
