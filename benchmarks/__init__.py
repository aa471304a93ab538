"""What a message, a connection and a broadcast cost: ours beside others, in one run, as ratios."""
