"""Runs: how a message becomes an answer. Accepting, driving a mode's generator, effects, leases, ends."""
