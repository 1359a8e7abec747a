"""The parts of a clip that are judged: stretches of speech, equal cuts, sliding windows, and the faces of several people."""
