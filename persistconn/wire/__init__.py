"""What the bytes mean: pure functions and values, without state, time or I/O."""
