"""Settings: the typed models of params.yaml and how they are read; start with settings.py."""
