"""Long drills: what must not be lost, whatever dies. Not part of `make test`; `make faults` runs them."""
