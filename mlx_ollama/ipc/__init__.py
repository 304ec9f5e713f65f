"""What the server and a runner say to each other."""
