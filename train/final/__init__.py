"""The final model of a run: networks that are trained on all of its utterances."""
