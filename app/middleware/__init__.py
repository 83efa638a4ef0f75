"""What is done to every request before its route, and to every answer after it. Runs in the web processes."""
