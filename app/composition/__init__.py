"""Parts of the composition root: what `app/server.py` builds the service from."""
