"""What `python main.py check`, `cache`, `probe`, `token` and `link` do. Each runs in the process of its command."""
