"""The commands of `minutebook`: one file each, thin; `app/cli.py` puts them together."""
