"""What networks cost, ours beside other people's: `python -m benchmarks`, then `python -m benchmarks page`."""
