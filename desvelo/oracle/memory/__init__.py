"""Memory that grows with every repetition: a leak that no list of open resources shows.

from desvelo.oracle.memory import measure_growth

growth = measure_growth(one_request, repetitions=200)
assert not growth.leaks, growth.text()
"""

from desvelo.oracle.memory.growth import Growth, Site, measure_growth, measure_growth_in_loop

__all__ = ["Growth", "Site", "measure_growth", "measure_growth_in_loop"]
