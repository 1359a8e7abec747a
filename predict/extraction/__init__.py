"""Features of new clips: the encoders of a model, found again, and a cache of what they gave."""
