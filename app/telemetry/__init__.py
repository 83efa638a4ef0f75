"""Logs, metrics and traces. `logs` runs in all processes, `metrics` in a process of its own.

Everything else runs in the web processes.
"""
