"""The selector on kernel sockets: what it reports, the kernel has said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desvelo.world.selector import READ, EventList, WorldSelector

if TYPE_CHECKING:
    from desvelo.world.kernel.kernel import Kernel
    from desvelo.world.world import World


class KernelSelector(WorldSelector):
    """Decides as every selector of a world does, and gives up when the kernel does not follow.

    Whether a descriptor is ready is asked of the kernel (`KernelSocket.has_input`); that the
    kernel has got as far as the schedule was waited for when the event was let through.
    """

    def __init__(self, world: World, kernel: Kernel) -> None:
        super().__init__(world)
        self._kernel = kernel

    def select(self, timeout: float | None = None) -> EventList:
        """Return what the loop sees in this iteration."""
        self._kernel.check()
        return super().select(timeout)

    def _move_on(self) -> bool:
        """Let no time pass, and call nothing stuck, while the kernel has something to tell."""
        return self._kernel_has_more() or super()._move_on()

    def _kernel_has_more(self) -> bool:
        """Tell whether something can be read that no event has brought; it is then seen now.

        Room to write is not asked for: the world may be holding back that it is seen.
        """
        sockets = self._world.network.sockets
        for fd, key in self._keys.items():
            sock = sockets.get(fd)
            waits = key.events & READ and fd not in self._touched
            if sock is not None and waits and sock.has_input():
                self._touched[fd] = READ
        return bool(self._touched)
