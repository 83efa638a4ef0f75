"""The format of image sets: AHI's metadata as typed values, and the prepared file that is made of each version.

Runs in the FrameFetcher processes, which write the prepared files, and in the web and prefetch processes, which read
them. `ahi.retrieval` finds the image sets that a request needs; this room knows what is in them.
"""
