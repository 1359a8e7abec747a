"""From a corpus on disk to a manifest (CSV): one module per corpus; start with run.py."""
