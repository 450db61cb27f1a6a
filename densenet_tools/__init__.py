"""What works on any backend: comparison, inspection and the command line `densenet`."""
