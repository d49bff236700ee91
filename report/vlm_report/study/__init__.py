"""Studies: an experiment matrix in one TOML file, and the commands that fill it."""
