"""The child process: text in, events out, one model."""
