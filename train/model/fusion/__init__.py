"""Fusion heads: from the projected streams of an utterance to one vector. `train.fusion` chooses one.

Open first: base.py, the interface. One file per system, in vectors/ (heads over one vector per stream), sequences/
(heads over frames) and grids/ (heads that need the streams on one time grid). registry.py lists them; their options are
in shared/config/fusion_settings.py. Heads over dialogs are in train/model/dialogs/.
"""
