"""Container images: which there are, what they stand on, how they are built."""
