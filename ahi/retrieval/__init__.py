"""Image sets and frames by study, series and instance: from the cache, or from the FrameFetchers.

Runs in the web processes; `store` also in the prefetch process.
"""
