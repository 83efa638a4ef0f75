"""The access log, other logs (all processes), counters and traces (web processes), and `/metrics`.

`metrics` runs in a process of its own.
"""
