"""The service around search and retrieve: settings, composition, health; a room for each other concern."""
