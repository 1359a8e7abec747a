"""Maintenance of a features folder: `foal index` and `foal clean`.

`index.py` and `clean.py` are one command each; `stale.py` decides which files are not needed, and `stale_report.py`
says why.
"""
