"""What travels over HTTP, as msgspec structs; no behaviour."""
