"""What an execution opened and did not give back.

From `setup` on all that is made is known, weakly, with its line, its maker and its virtual moment
(`recording`, `watching`). At the end that registry is looked through, and nothing else: the
garbage collector is asked only about the young. What is open and what was dropped open is told in
one finding (`accounting`), with who keeps it (`keeping`).
"""

from desvelo.oracle.leaks.accounting import Account
from desvelo.oracle.leaks.allowed import allowed_leaks
from desvelo.oracle.leaks.complaints import leak_from_loop
from desvelo.oracle.leaks.ports import who_holds, with_holder

__all__ = ["Account", "allowed_leaks", "leak_from_loop", "who_holds", "with_holder"]
