"""The parts of a clip that are predicted: speech, equal pieces, sliding windows, and the faces of several people."""
