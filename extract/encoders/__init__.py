"""What audio and face encoders share: finding weights (weights.py) and running networks (inference.py).

Open first: weights.py. opensmile.py has the names of openSMILE's feature sets.
"""
