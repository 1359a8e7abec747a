"""Maintenance of a features folder: `foal index`, `foal import` and `foal clean`.

`index.py`, `import_features.py` and `clean.py` are one command each; `npy_folder.py` reads the files
to import, `stale.py` decides which files are not needed.
"""
