"""One module a command: its arguments, the use case it calls, and what it shows."""
