"""Rows of the index: metadata of image sets in, rows out. The command and the embedded data store write through it."""
