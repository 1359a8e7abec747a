"""The report of a run, an evaluation or a study as one self-contained HTML page."""
