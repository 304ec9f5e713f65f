"""One file a tool-call format."""
