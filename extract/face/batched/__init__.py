"""Many images at once, on any device: MTCNN's cascade (cascade.py), and resizing to squares (resampling.py)."""
