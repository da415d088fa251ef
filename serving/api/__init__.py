"""The HTTP API: what the pipeline knows, as JSON, server-sent events and Prometheus text."""
