"""Features in the formats of other tools, the inverse of `foal import`."""
