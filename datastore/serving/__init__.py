"""The AHI protocol over the image sets of a folder, and faults on demand. Runs in the process of the data store.

server → routes → search, answers, errors (the protocol) and faults → effects, strange (what tests disturb it with)
"""
