"""The world on kernel sockets: the same loop, the same decisions, real TCP on loopback."""

from desvelo.world.kernel.kernel import SECONDS, Kernel, KernelGaveUp

__all__ = ["SECONDS", "Kernel", "KernelGaveUp"]
