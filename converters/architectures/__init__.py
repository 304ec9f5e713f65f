"""One file a model family: configuration, name map and the few tensors that need more."""
