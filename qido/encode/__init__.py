"""Encode: from results to the bytes of an answer. Runs in the web processes."""
