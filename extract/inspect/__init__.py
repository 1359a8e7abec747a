"""What `foal inspect` shows of a feats.h5: tables, a CSV file of quality measures, and a contact sheet.

Open first: tables.py (tables and CSV) or contact_sheet.py (the contact sheet from the index to the PNG). preview.py
decodes one frame per utterance, sheet_layout.py draws the sheet.
"""
