"""Token ids in, token ids out; MLX lives here and in the converter process."""
