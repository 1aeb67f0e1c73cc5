"""Reports: what people and programs read when a run has ended."""
