"""Options of an explanation: each declared once, for Python, the command line and settings files."""
