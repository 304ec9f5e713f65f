"""Which models are loaded, and the processes that hold them."""
