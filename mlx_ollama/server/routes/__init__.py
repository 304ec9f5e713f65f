"""One file a resource; a handler is ten lines."""
