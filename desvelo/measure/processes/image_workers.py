"""Worker processes that send files through a target's image pipeline.

``python -m desvelo.measure.processes.image_workers TARGET LISTING RECORD WORKERS``: LISTING is
JSON, a list of paths; for each a line of JSON is added to RECORD. Ends at once when standard
input closes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from pathlib import Path
from time import perf_counter

from desvelo.targets import choose_target


def main(target: str, listing: str, record: str, workers: int) -> int:
    """Share the files among the workers and return an exit status."""
    paths = json.loads(Path(listing).read_text(encoding="utf-8"))
    # Each loads the target itself: what one process had open another must not share.
    processes = multiprocessing.get_context("spawn")
    running = [
        processes.Process(target=work, args=(target, paths[number::workers], record))
        for number in range(workers)
    ]
    for process in running:
        process.start()

    def end_with_the_run() -> None:
        # A closed pipe is the end of the run, or of its life. Not through sys.stdin, whose lock
        # the interpreter would want at its end.
        os.read(0, 1)
        for process in running:
            process.terminate()
        os._exit(0)

    threading.Thread(target=end_with_the_run, daemon=True).start()
    for process in running:
        process.join()
    return max(abs(process.exitcode or 0) for process in running)


def work(target: str, paths: list[str], record: str) -> None:
    """Process some files one after the other."""
    process_image = choose_target(target).process_image
    # One write of a short line to a file that is opened for appending is not torn apart (POSIX).
    descriptor = os.open(record, os.O_WRONLY | os.O_APPEND)
    for path in paths:
        begun, error = perf_counter(), ""
        try:
            outcome = "processed" if process_image(Path(path)) else "refused"
        except Exception as failure:
            outcome, error = "failed", type(failure).__name__
        at = perf_counter()
        entry = {
            "path": path,
            "outcome": outcome,
            "error": error,
            "at": at,
            "seconds": at - begun,
        }
        os.write(descriptor, (json.dumps(entry) + "\n").encode())
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
