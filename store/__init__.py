"""The Store transaction (STOW-RS): from the body of a request to the data store, with nothing lost in between.

outcome    an instance that was received, and what has become of it
spool/     what was accepted and is not stored yet, on disk
forward/   the process that sends it to AHI and writes the rows of the index
"""
