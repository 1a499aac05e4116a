"""What a command can take from the one before: read models and optimised programs, in a folder of the user's."""
