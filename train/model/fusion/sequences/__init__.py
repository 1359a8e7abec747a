"""Fusion heads over the frames of each stream."""
