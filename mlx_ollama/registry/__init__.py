"""Other people's models, over HTTPS."""
