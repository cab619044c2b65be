"""Ready-made ways of working (skills) and who answers (agents), both from files that may change while we run."""
