"""C sources compiled on this machine and loaded."""
