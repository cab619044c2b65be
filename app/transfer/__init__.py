"""Conversations in and out of the log: OpenAI message lists, and the events themselves."""
