"""Tools that an agent may call: one file each, and the box that calls them."""
