"""What the two drivers of PostgreSQL have in common."""

from vigia_reference.clinical.attempts import Begin


def begin_statement(begin: Begin) -> str:
    """The statement that begins a transaction.

    >>> from vigia_reference.clinical.transaction import Isolation
    >>> begin_statement(Begin(Isolation.SERIALIZABLE, read_only=True))
    'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY'
    """
    mode = " READ ONLY" if begin.read_only else ""
    return f"BEGIN ISOLATION LEVEL {begin.isolation.upper()}{mode}"
