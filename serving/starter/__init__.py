"""A first pipeline.toml from what a source sends: watch, guess, write."""
