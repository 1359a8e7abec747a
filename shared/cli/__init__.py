"""The `foal` command: entry point, options from settings keys, console and logs; start with main.py."""
