"""Search for settings of the head, judged by development groups only: `foal tune`."""
