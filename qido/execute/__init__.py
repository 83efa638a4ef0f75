"""The ways of a search: statements and image sets, run one after another. Runs in the web processes."""
