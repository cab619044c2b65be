"""Agent modes: plain generators of intents, sent outcomes. No I/O, no clock, no randomness, no ids of their own."""
