"""A recording at a glance: what was measured, how it looks, and a pipeline.toml for it."""
