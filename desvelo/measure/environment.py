"""What a run was made with: the revision of the code, the machine, the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from desvelo.errors import UsageError

VERSIONS = ("desvelo", "aiohttp", "hypothesis", "pytest", "pytest-xdist", "psutil", "httptools")


def revision(folder: Path) -> str:
    """Return the Git revision of a folder; ``+`` follows where files were changed since.

    Empty outside of a repository, and where Git is not installed.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return ""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if changed else commit


def check_revision(folder: Path, name: str) -> None:
    """Raise `UsageError` when the repository of a folder has no such revision."""
    if not _git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        raise UsageError(f"--against: git has no revision {name!r} in {folder}")


def machine() -> dict[str, str]:
    """Return what of this machine bears on measured numbers.

    >>> sorted(machine())
    ['cores', 'cpu', 'memory', 'name', 'system']
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _processor(),
        "cores": str(usable or 1),
        "memory": _memory(),
    }


def versions() -> dict[str, str]:
    """Return the version of Python and of each library that is installed.

    >>> {"python", "desvelo", "aiohttp"} <= set(versions())
    True
    """
    from desvelo import __version__

    found = {"python": platform.python_version(), "desvelo": __version__}
    for package in VERSIONS[1:]:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever Git there is
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return ""
    return f"{size / 2**30:.1f} GiB"
