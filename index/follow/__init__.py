"""Following AHI: what changes in the data stores is in the index within seconds. Runs in `python main.py index`."""
