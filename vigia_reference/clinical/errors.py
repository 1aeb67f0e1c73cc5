"""What an operation of the clinical store can fail with, whatever the driver calls it."""


class PatientNotFound(LookupError):
    """No patient has this code."""


class DuplicatePatient(ValueError):
    """A patient with this code is there already."""


class CarePlanNotFound(LookupError):
    """No care plan has this identifier."""


class DetectionNotFound(LookupError):
    """The patient has no detection with this identifier."""


class NotMigrated(RuntimeError):
    """The database lacks what a migration adds."""


class StoreError(Exception):
    """A statement failed, and the transaction with it."""


class ConstraintViolation(StoreError):
    """A row breaks a rule of its table."""


class UniqueViolation(ConstraintViolation):
    """There is a row with this key already."""


class ForeignKeyViolation(ConstraintViolation):
    """A row refers to one that is not there, or is referred to by one that stays."""


class CheckViolation(ConstraintViolation):
    """A value is not among those that the column allows."""


class MissingValue(ConstraintViolation):
    """A column that must have a value was given none."""


class Conflict(StoreError):
    """Another transaction was in the way; the same transaction may succeed when tried again."""


class CommitPostponed(Conflict):
    """Only the commit failed, because others still read; the transaction stands."""


class RetriesExhausted(StoreError):
    """Other transactions were in the way each time that this one was tried."""


class DeadlockDetected(StoreError):
    """The database broke a circle of transactions that waited for one another.

    It is not tried again: all transactions of the store take their locks in one order, so a
    deadlock is a mistake in the program, which trying again would only hide.
    """


class Unavailable(StoreError):
    """The database cannot be reached, the connection to it broke, or its disk is full or fails."""


class PoolExhausted(StoreError):
    """All connections of the pool were in use for too long."""


class PoolClosed(StoreError):
    """A connection was asked for after the pool was closed."""


_BY_SQLSTATE: dict[str, type[StoreError]] = {
    "23505": UniqueViolation,
    "23503": ForeignKeyViolation,
    "23514": CheckViolation,
    "23502": MissingValue,
    "40001": Conflict,
    "40P01": DeadlockDetected,
}


def by_sqlstate(sqlstate: str | None, message: str) -> StoreError:
    """Return the error for a condition that PostgreSQL reported.

    >>> by_sqlstate("23505", "duplicate key value")
    UniqueViolation('duplicate key value')
    """
    if sqlstate is None or sqlstate.startswith(("08", "57P")):
        return Unavailable(message)
    return _BY_SQLSTATE.get(sqlstate, StoreError)(message)
