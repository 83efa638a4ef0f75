"""Image sets as typed values, and the prepared file that is made of each.

Runs in the FrameFetcher processes, which write these files, and in the web processes, which read them.
"""
