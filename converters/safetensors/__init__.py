"""The Safetensors format."""
