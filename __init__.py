"""foal: audio-visual emotion recognition from features that are extracted once (the repository root is the package)."""

__version__ = "0.1.0"
