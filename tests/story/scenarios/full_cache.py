"""Three threads store into a cache of two, whose size is kept apart from what it holds."""

runtime = "threads"


class Cache:
    def __init__(self):
        self.size = 0
        self.kept = {}

    def put(self, key):
        while self.size >= 2:
            self.kept.pop(next(iter(self.kept)))
            self.size -= 1
        self.kept[key] = key
        self.size += 1


def setup():
    return Cache()


def operations(cache):
    return {name: lambda name=name: cache.put(name) for name in ("a", "b", "c")}


def check(cache):
    assert len(cache.kept) <= 2, sorted(cache.kept)
