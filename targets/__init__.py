"""Adapters: how the stress tests start a system and look at what it has stored."""
