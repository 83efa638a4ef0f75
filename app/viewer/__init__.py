"""The viewer OHIF at `/viewer/`: its files, the page, and a configuration for each caller.

Runs in the web processes."""
