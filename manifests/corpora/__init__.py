"""One module per corpus or layout; each has a function `build` that returns a ManifestResult."""
