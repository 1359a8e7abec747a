"""Load frozen transformers models from folders, without network access and without code from the folder."""

from pathlib import Path
from typing import Any

import torch

from ...shared.errors import EncoderError
from .inference import quiet_transformers


def load_pretrained(loader: Any, folder: Path, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a model in float32.

    Args:
        loader: a class of transformers with `from_pretrained`.
        folder: the model's folder.
        name: name of the encoder, for messages.
        options: more arguments of `from_pretrained`.

    Returns:
        The model, and the loading report of transformers (`missing_keys`, `mismatched_keys` and others).

    Raises:
        EncoderError: the weights cannot be loaded.
    """
    try:
        # Weights that the checkpoint lacks are drawn at random; the global random state must not change.
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            model, report = loader.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
    except Exception as error:
        # safetensors, pickle and transformers each raise their own exceptions; one line is enough for the user.
        raise EncoderError(f"{name}: the weights cannot be loaded ({first_line(error)})") from None
    return model, report


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if the message is empty."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
