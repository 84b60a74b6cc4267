"""The machine as data: files, system calls, CPU lists, topology, interrupts, NICs, threads.

Imports nothing of the project, so that both the engine and the collector can stand on it.
"""
