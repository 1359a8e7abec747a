"""The comparison of fusion systems as sentences, tables and a picture, from the content of fusions.json."""
