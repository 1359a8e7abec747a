"""What a predictor without any media reaches: from scenes, roles and times (script floor), or from labels (inertia).

Open first: folds.py, the script floor under a protocol. vote.py is the predictor, positions.py its inputs.
"""
