"""Execute: run the statements of a search and read its image sets. Runs in the web processes."""
