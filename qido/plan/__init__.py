"""Plan: from a query to SQL statements. Nothing here uses the database. Runs in the web processes."""
