"""The commands of `python main.py`, one module each. Each runs in a process of its own; `serve` starts the others."""
