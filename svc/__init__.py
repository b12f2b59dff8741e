"""One folder a deployable: wiring and transport only."""
