"""Batches of whole dialogs, for heads that read the turns before and after a turn."""
