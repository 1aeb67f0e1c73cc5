"""What was acknowledged against what is stored: nothing lost, nothing twice, nothing refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum


class Fate(IntEnum):
    """What a sender knows of something that it has sent, the surest word last."""

    REFUSED = 1
    UNKNOWN = 2
    ACKNOWLEDGED = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys that are not in the store as they should be."""

    lost: tuple[str, ...] = ()
    """Acknowledged, and not stored."""
    twice: tuple[str, ...] = ()
    """Stored more than once."""
    unwanted: tuple[str, ...] = ()
    """Refused, and stored all the same."""

    def sentences(self) -> list[str]:
        """Return one sentence for each kind of difference, with a few of its keys."""
        kinds = (
            (self.lost, "acknowledged and not stored"),
            (self.twice, "stored more than once"),
            (self.unwanted, "refused and stored all the same"),
        )
        return [f"{len(keys):,} {what}: {_a_few(keys)}" for keys, what in kinds if keys]


@dataclass
class Ledger:
    """Remembers the fate of every key.

    Of several deliveries of one key a single acknowledgement counts. Where a sender cannot know,
    because no answer came or the server said that it had failed, either is right, but not twice.

    >>> ledger = Ledger()
    >>> for key in ("a", "b", "c"):
    ...     ledger.note(key, Fate.ACKNOWLEDGED)
    >>> ledger.note("c", Fate.UNKNOWN)
    >>> ledger.note("d", Fate.REFUSED)
    >>> ledger.against(Counter({"a": 1, "b": 2, "d": 1, "somebody else's": 1}))
    Difference(lost=('c',), twice=('b',), unwanted=('d',))
    """

    fates: dict[str, Fate] = field(default_factory=dict)

    def note(self, key: str, fate: Fate) -> None:
        """Remember what one delivery of a key came to; a key that is empty is not looked up."""
        if key and fate > self.fates.get(key, 0):
            self.fates[key] = fate

    def of(self, fate: Fate) -> list[str]:
        """Return the keys that came to this."""
        return [key for key, known in self.fates.items() if known is fate]

    def against(self, stored: Counter[str]) -> Difference:
        """Compare with how often the store has each key; keys of others do not matter."""
        return Difference(
            tuple([key for key in self.of(Fate.ACKNOWLEDGED) if not stored[key]]),
            tuple([key for key in self.fates if stored[key] > 1]),
            tuple([key for key in self.of(Fate.REFUSED) if stored[key]]),
        )


def _a_few(keys: Iterable[str], most: int = 3) -> str:
    listed = list(keys)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
