"""What a test on the real system opened and did not give back.

Constructors are watched through small hooks, so that every resource is known with the line that
made it; what a library does not announce is found by set differences (descriptors, threads,
child processes). The garbage collector is asked only when something differs.
"""
