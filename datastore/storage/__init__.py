"""Image sets on disk. Runs in the process of an import, which writes, and in that of the data store, which reads.

records    values: a data store, a version of an image set, a frame
database   the SQLite database and its schema
catalogue  the statements on it: which image sets, versions and frames there are
files      durable writes and lock files
staging    a version that is being written
storage    the folder as a whole
"""
