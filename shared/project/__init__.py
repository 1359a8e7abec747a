"""A project folder: `foal init` writes its settings, pipeline and job file from those of the repository."""
