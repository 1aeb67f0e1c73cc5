"""Toy databases of known isolation levels, and random transactions interleaved on them.

Every write is of a value that is written once; the condition that looks use is an even value.
"""

from desvelo.oracle.transactions import TransactionLog

KEYS = ("x", "y", "z")
INITIAL = {"x": 1, "y": 2}


class Blocked(Exception):
    """A lock is held by another transaction."""


class Aborted(Exception):
    """The database refuses to go on with a transaction."""


class Session:
    """A transaction as a database sees it."""

    def __init__(self, store):
        self.store = store
        self.written = {}
        self.read_versions = {}
        self.looked = None


class Store:
    """Reads the newest committed values, keeps writes back until commit, and checks nothing."""

    def __init__(self):
        self.rows = dict(INITIAL)

    def begin(self):
        return Session(self)

    def visible(self, session):
        return {**self.rows, **session.written}

    def read(self, session, key):
        return self.visible(session).get(key)

    def find(self, session):
        return {key: value for key, value in self.visible(session).items() if even(key, value)}

    def write(self, session, key, value):
        session.written[key] = value

    def commit(self, session):
        self.rows.update(session.written)

    def abort(self, session):
        session.written.clear()


class Optimistic(Store):
    """Serializable: what was read and found must be the same at commit."""

    level = "serializable"
    order = "commit"

    def read(self, session, key):
        if key not in session.written:
            session.read_versions.setdefault(key, self.rows.get(key))
        return super().read(session, key)

    def find(self, session):
        now = {key: value for key, value in self.rows.items() if even(key, value)}
        if session.looked not in (None, now):
            raise Aborted
        session.looked = now
        return super().find(session)

    def commit(self, session):
        now = {key: value for key, value in self.rows.items() if even(key, value)}
        changed = any(self.rows.get(key) != seen for key, seen in session.read_versions.items())
        if changed or session.looked not in (None, now):
            raise Aborted
        super().commit(session)


class Snapshot(Store):
    """Reads what was committed when it began; the first committer of a row wins."""

    level = "snapshot"
    order = "write"

    def begin(self):
        session = super().begin()
        session.snapshot = dict(self.rows)
        return session

    def visible(self, session):
        return {**session.snapshot, **session.written}

    def commit(self, session):
        if any(self.rows.get(key) != session.snapshot.get(key) for key in session.written):
            raise Aborted
        super().commit(session)


class ReadCommitted(Store):
    """Reads what is committed now; rows that are written stay locked until the end."""

    level = "read committed"
    order = "write"

    def __init__(self):
        super().__init__()
        self.locks = {}

    def write(self, session, key, value):
        if self.locks.setdefault(key, session) is not session:
            raise Blocked
        super().write(session, key, value)

    def commit(self, session):
        super().commit(session)
        self._unlock(session)

    def abort(self, session):
        super().abort(session)
        self._unlock(session)

    def _unlock(self, session):
        self.locks = {key: who for key, who in self.locks.items() if who is not session}


class ReadUncommitted(ReadCommitted):
    """Writes in place, so others read it at once; undoes it when aborted."""

    level = "read uncommitted"
    order = "write"

    def write(self, session, key, value):
        if self.locks.setdefault(key, session) is not session:
            raise Blocked
        session.written.setdefault(key, self.rows.get(key))
        self.rows[key] = value

    def visible(self, session):
        return {key: value for key, value in self.rows.items() if value is not None}

    def commit(self, session):
        self._unlock(session)

    def abort(self, session):
        self.rows.update(session.written)
        self._unlock(session)


class NoIsolation(ReadUncommitted):
    """Writes in place without a lock."""

    level = None

    def write(self, session, key, value):
        self.rows[key] = value

    def abort(self, session):
        self.commit(session)


def even(key, value):
    return value is not None and value % 2 == 0


def drawn_transactions(random, most=4, *, looks=True):
    """Draw what each transaction does."""
    kinds = ["read", "read", "write", "write", *(["find"] if looks else [])]
    return [
        [(random.choice(kinds), random.choice(KEYS)) for _ in range(random.randint(1, 4))]
        for _ in range(random.randint(2, most))
    ]


def interleave(random, store, transactions, *, aborts=0.1, serial=False):
    """Run transactions on a store in a random order of their steps; return the log."""
    log = TransactionLog(INITIAL, order=store.order)
    value = iter(range(100, 10_000))
    running = [(store.begin() if not serial else None, log.begin(), [*ops]) for ops in transactions]
    blocked = set()
    while running:
        free = [one for one in range(len(running)) if one not in blocked]
        at = 0 if serial else random.choice(free or [0])
        session, noted, left = running[at]
        session = session or store.begin()
        running[at] = (session, noted, left)
        try:
            if not free or (not left and random.random() < aborts):
                raise Aborted  # a victim of a deadlock, or the wish of the program
            if left:
                step(store, session, noted, left[0], next(value))
                left.pop(0)
                continue
            store.commit(session)
            noted.commit()
        except Blocked:
            blocked.add(at)
            continue
        except Aborted:
            store.abort(session)
            noted.abort()
        running.pop(at)
        blocked.clear()
    return log


def step(store, session, noted, what, value):
    kind, key = what
    if kind == "read":
        noted.read(key, store.read(session, key))
    elif kind == "write":
        store.write(session, key, value)
        noted.write(key, value)
    else:
        noted.find("even rows", store.find(session), even)
