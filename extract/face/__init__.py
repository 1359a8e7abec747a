"""Face features: videos in, one embedding per sampled frame out.

Open first: pipeline.py (`face_entries`, from the videos of a chunk to its shard entries). It feeds batching.py, which
detects with detector.py, follows one person with tracker.py, cuts with cropping.py and encodes with facenet.py
(InceptionResnetV1) or vision.py (vision models of Hugging Face). config.py has the defaults of a crop, batched/ the
operations on many images at once.
"""
