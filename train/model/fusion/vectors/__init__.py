"""Fusion heads over one vector per stream."""
