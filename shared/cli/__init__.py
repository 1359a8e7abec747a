"""The command line: entry point, options, console, logging, progress, signals."""
