"""Audio features: audio files in, hidden states of speech models at 50 Hz or features of openSMILE out.

Open first: pipeline.py (`audio_entries`, from the media files of a chunk to its shard entries), then encoder.py
(batches, layers) and windows.py (which part of the input a frame covers). loading.py builds encoders from weights.
The models: padding.py (the wav2vec2 family, exact in batches), squeezed.py (SEW), spectrogram.py (Whisper,
Wav2Vec2-BERT). smile.py is openSMILE. config.py reads a model's configuration without importing torch.
"""
