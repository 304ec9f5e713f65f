"""The command line; speaks HTTP to the server."""
