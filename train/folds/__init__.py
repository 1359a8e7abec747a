"""Protocols that list the rows of each part, and the groups of all protocols; data/protocol.py makes folds of them.

Open first: scenes.py, whose training sees neither the session nor the scene of a test block.
"""
