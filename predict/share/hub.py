"""`foal.load` and `FoalModel`: a trained model from a folder or from the Hugging Face hub."""

from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download

from ..trained import Predicted, StatisticsOf, TrainedModel, load_trained, open_unlabelled
from .folder import write_files


class FoalModel(ModelHubMixin, library_name="foal"):
    """A trained model, with `from_pretrained`, `save_pretrained` and `push_to_hub` of huggingface_hub.

    Example:
        model = foal.load("runs/main")
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
