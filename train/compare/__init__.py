"""Finished runs together: lists, pooled scores, and comparisons of systems on the same utterances."""
