"""A create request to layers and a manifest."""
