"""Our Hypothesis profiles, loaded by name so that no other default gets in between.

Hypothesis loads a profile of its own where ``CI`` is set: derandomized and without a database.
A nightly run would then repeat itself and keep nothing.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase

DEFAULT = "desvelo"

_COMMON = {
    "deadline": None,
    "derandomize": False,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
    "stateful_step_count": 10,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
}


def register() -> None:
    """Make the profiles known to Hypothesis: quick, the default, and one for nightly runs."""
    database = DirectoryBasedExampleDatabase(".hypothesis/examples")
    for name, examples in (("desvelo-quick", 25), (DEFAULT, 300), ("desvelo-nightly", 2000)):
        settings.register_profile(name, max_examples=examples, database=database, **_COMMON)  # type: ignore[arg-type]


def machine_settings() -> settings:
    """Return the settings of a machine that has none: ours, unless the user loaded a profile."""
    name = settings.get_current_profile_name()
    return settings.get_profile(DEFAULT if name in ("default", "ci") else name)


# At import, as Hypothesis wants it: not while a test with other settings runs.
register()
