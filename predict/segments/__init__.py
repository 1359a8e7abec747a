"""The parts of a clip that are judged: speech, equal pieces, sliding windows, and the faces of several people."""
