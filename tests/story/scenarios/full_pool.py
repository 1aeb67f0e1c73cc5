"""Jobs of a pool wait for jobs of the same pool, which has no thread left for them."""

from concurrent.futures import ThreadPoolExecutor

runtime = "threads"


def setup():
    return ThreadPoolExecutor(max_workers=2)


def operations(pool):
    def outer(n):
        return pool.submit(lambda: n).result()

    def client(n):
        return pool.submit(outer, n).result()

    return {"a": lambda: client(1), "b": lambda: client(2)}


def teardown(pool):
    pool.shutdown()
