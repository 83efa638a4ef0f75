"""The AHI protocol over the image sets of a folder, and faults on demand. Runs in the process of the data store.

server → routes → operations → search, answers, errors
         routes → faults → effects, strange: disturbances for tests
"""
