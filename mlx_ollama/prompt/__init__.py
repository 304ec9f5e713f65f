"""Messages to prompt text. Pure: no MLX, no HTTP, no clock but the one passed in."""
