"""The settings: params.yaml as frozen models, and how it is read."""
