"""The I/O phase: the target's image pipeline over real files, by several processes at once.

Some of the files are images of every kind, and some are broken in the ways that files are. An
image has to be processed, a broken one refused, and nothing may stay behind: neither beside the
images, nor where temporary files are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from time import monotonic

from desvelo.measure.context import Context
from desvelo.measure.load.histogram import latency_of
from desvelo.measure.phases.traffic import write_latency
from desvelo.measure.processes.sampling import Sampling
from desvelo.measure.result import Metric, PhaseResult, Status

Images = Sequence[tuple[Path, bool]]
"""Files, and whether each can be used."""
PATIENCE = 60.0
"""Seconds in which some image has to be done."""


def run(context: Context) -> PhaseResult:
    """Process W x N drawn images; see docs/phases/io.md."""
    result = PhaseResult("io")
    numbers = context.settings.io
    context.offered("process_image")
    folder = context.folder / "images"
    folder.mkdir()
    count = numbers.workers * numbers.images
    images: Images = context.offered("image_files")(context.settings.seed, count, folder)
    if not images:
        result.fail("the target drew no image, so nothing was shown")
        return result
    temporary = context.folder / "tmp"
    temporary.mkdir()
    before = {path.name for path in folder.iterdir()}
    done = _process(context, result, images, temporary)
    left = {path.name for path in folder.iterdir()} - before
    left |= {path.name for path in temporary.iterdir()}
    if left and result.status is not Status.INTERRUPTED:
        result.problems.append(f"{_count(left, 'file')} left behind, such as {min(left)}")
    _judge(result, images, done)
    return result


def _process(
    context: Context, result: PhaseResult, images: Images, temporary: Path
) -> dict[str, dict[str, object]]:
    """Run the workers; returns by path what became of each image."""
    numbers = context.settings.io
    listing, record = context.folder / "images.json", context.folder / "done.jsonl"
    listing.write_text(json.dumps([str(path) for path, _ in images]), encoding="utf-8")
    record.touch()
    command = [sys.executable, "-m", "desvelo.measure.processes.image_workers"]
    command += [context.settings.target, str(listing), str(record), str(numbers.workers)]
    output = context.folder / "workers.log"
    bar = context.progress.start("io", len(images))
    known, since = 0, monotonic()
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        # The workers end when this pipe closes, also when this process is killed.
        assert process.stdin is not None
        with process.stdin, Sampling(process.pid, every=0.2) as sampling:
            while process.poll() is None and not context.interruption.wait(0.05):
                lines = record.read_bytes().count(b"\n")
                if lines > known:
                    bar.advance(lines - known)
                    known, since = lines, monotonic()
                elif monotonic() - since > PATIENCE:
                    result.fail(f"for {PATIENCE:g} s no image was done any more")
                    break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    bar.finish()
    done = {entry["path"]: entry for entry in map(json.loads, _whole_lines(record))}
    _write(result, done, sampling, list(images))
    if context.interruption.is_set():
        result.status = Status.INTERRUPTED
        result.reason = f"interrupted after {len(done)} of {len(images)} images"
    elif process.returncode or len(done) < len(images):
        said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = said[-1] if said else "it printed nothing"
        result.fail(
            f"the image workers ended with status {process.returncode} after {len(done)} of "
            f"{len(images)} images: {last}"
        )
    return done


def _whole_lines(record: Path) -> list[str]:
    return [
        line
        for line in record.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _write(
    result: PhaseResult,
    done: dict[str, dict[str, object]],
    sampling: Sampling,
    images: Images,
) -> None:
    result.samples = sampling.samples
    if not done:
        result.fail(f"none of {len(images)} images was processed, so nothing was shown")
        return
    times = [float(str(entry["seconds"])) for entry in done.values()]
    begun = min(float(str(one["at"])) - float(str(one["seconds"])) for one in done.values())
    seconds = max(float(str(entry["at"])) for entry in done.values()) - begun
    write_latency(result, latency_of(times))
    result.metrics |= {
        "images": Metric(len(times), ""),
        "response_time": Metric(max(times), "s", "lower"),
        "throughput": Metric(len(times) / max(seconds, 1e-6), "1/s", "higher"),
    }
    if sampling.samples:
        cores = [sample.cpu for sample in sampling.samples[1:]]
        result.metrics |= {
            "memory": Metric(sampling.peak_rss, "B", "lower"),
            "cpu": Metric(sum(cores) / max(len(cores), 1), "cores"),
            "bytes_read": Metric(max(one.read_bytes for one in sampling.samples), "B"),
            "bytes_written": Metric(max(one.written_bytes for one in sampling.samples), "B"),
        }


def _judge(result: PhaseResult, images: Images, done: dict[str, dict[str, object]]) -> None:
    """Compare what became of each image with what it is."""
    wrong: dict[str, list[str]] = {}
    for path, usable in images:
        entry = done.get(str(path))
        expected = "processed" if usable else "refused"
        if entry is None or entry["outcome"] == expected:
            continue
        with_error = f" with {entry['error']}" if entry["error"] else ""
        told = f"{entry['outcome']}{with_error}, and to be {expected}"
        wrong.setdefault(told, []).append(path.name)
    for told, names in wrong.items():
        result.errors[told] = len(names)
        result.problems.append(f"{_count(names, 'image')} {told}, such as {names[0]}")
    count = sum(map(len, wrong.values()))
    if done:
        result.metrics["success_rate"] = Metric(1 - count / len(done), "share", "higher")
        result.metrics["error_rate"] = Metric(count / len(done), "share", "lower")
    refused = sum(entry["outcome"] == "refused" for entry in done.values())
    result.notes.append(f"{len(done) - refused} images processed, {refused} refused")


def _count(things: Collection[str], kind: str) -> str:
    return f"1 {kind}" if len(things) == 1 else f"{len(things):,} {kind}s"
