"""The phases: each has `run(context)`, which returns what it measured."""
