"""What `foal predict` writes: tables, JSON Lines, CSV, timelines, subtitles and annotated videos."""
