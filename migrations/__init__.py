"""Plain SQL files, run once each in the order of their numbers by `app/database/migrate.py`. Forward only."""
