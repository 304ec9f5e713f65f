"""Model text to thinking, content and tool calls, a chunk at a time. Pure."""
