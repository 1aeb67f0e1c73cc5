"""Controlled threads: real threads of the operating system, of which exactly one runs at a time."""
