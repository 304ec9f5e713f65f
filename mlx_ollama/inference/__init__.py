"""One request against one model, whatever dialect it came in."""
