"""The synthetic corpus of the demo: script, cast, video and voice; start with corpus.py."""
