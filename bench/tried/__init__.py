"""What was tried to be faster or better; see `bench.tried.__main__`."""
