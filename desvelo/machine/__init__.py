"""Hypothesis machines whose operations run concurrently."""
