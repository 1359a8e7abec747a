"""The presets of training: keys that each one sets."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "light": {},
    # Sizes and optimizer of Li et al. 2024 and their code; the protocol remains nested.
    "paper": {
        "select": "ua",
        "refit": False,
        "width": 512,
        "heads": 4,
        "layers": 2,
        "feed_forward": False,
        "positions": False,
        "pool": ("mean",),
        "skip": False,
        "input_limit": None,
        "dropout": 0.1,
        "projection_dropout": 0.5,
        "frame_rate": None,
        "modality_dropout": 0.0,
        "input_dropout": 0.1,
        "batch_size": 16,
        "batch_frames": None,
        "epochs": 40,
        "early_stopping_patience": None,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup": 0.0,
        "clip": None,
        "initialization": "normal",
        "weight_decay": 0.01,
        "decay": "all",
    },
}
"""The keys that each preset sets. Keys given explicitly override them; all other keys keep their defaults."""
