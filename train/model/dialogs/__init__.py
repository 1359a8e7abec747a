"""Heads over dialogs: from the vectors of the turns of whole dialogs to the class of every turn.

Open first: encoder.py, the interface of a head. net.py is the network around it.
"""
