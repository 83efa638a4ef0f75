"""Image sets: values that the index lacks, and results where its rows may be wrong. Runs in the web processes."""
