"""Rows into a CSV file so that they can be read again, whatever is in them."""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO


def write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows, lines ending in a newline."""
    plain, quoting = (csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(header)
    for row in rows:
        # Python quotes a carriage return only if lines end in one, but always reads it as the end of a row.
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoting if returns else plain).writerow(row)
