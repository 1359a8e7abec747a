"""Heads over dialogs: from the vectors of the turns of whole dialogs to the class of every turn.

Open first: encoder.py, the interface of a head. registry.py lists the heads, net.py is the network around them.
"""
