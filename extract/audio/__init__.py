"""Audio features: audio files in, hidden states of the wav2vec2 family at 50 Hz out.

Open first: pipeline.py (`audio_entries`, from the media files of a chunk to its shard entries), then encoder.py
(windows, batches, layers). loading.py builds an encoder from its weights, padding.py makes batches exact, config.py
reads a model's configuration without importing torch.
"""
