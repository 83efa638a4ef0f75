"""Steps before and after each view, and WSGI layers around all of them. Runs in the web processes.

`app/factory.py` has their order and the reason for each place.
"""
