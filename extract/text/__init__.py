"""Text features: transcripts in, one vector per token (or per utterance) of a frozen text encoder out.

Open first: pipeline.py (`text_entries`, from the utterances of a chunk to their shard entries). It prepares the words
with transcript.py, and encodes with encoder.py (batches, layers, pooling) what tokens.py made of them. loading.py
builds encoders from weights. config.py reads a model's configuration without importing torch.
"""
