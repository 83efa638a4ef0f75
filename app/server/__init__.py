"""The web server: waitress's loop, connections, queues, threads and refusals. Runs in the web processes."""
