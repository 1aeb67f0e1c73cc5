"""Findings: shrinking, files, replay and export."""
