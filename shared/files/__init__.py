"""Files: atomic writes, the lock of a features folder, fingerprints, path confinement; start with atomic.py."""
