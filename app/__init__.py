"""What makes it a service: settings, composition, processes, health, access log."""
