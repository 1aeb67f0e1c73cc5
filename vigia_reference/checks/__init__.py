"""The system's own checks: a small pytest suite on real sockets and files.

``pytest --pyargs vigia_reference.checks`` runs it; the phases of a run repeat it and run it by
several workers at once, so every test uses a port and a folder of its own.
"""
