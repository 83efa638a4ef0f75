"""From a query to SQL statements, and the values that their rows become. Runs in the web processes."""
