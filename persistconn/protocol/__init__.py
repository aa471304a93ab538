"""The sans-IO core: what embedders import. No I/O, no clock, no chance."""
