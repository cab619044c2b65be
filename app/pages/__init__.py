"""What the start page is made of: plain HTML, CSS and one script, no build."""
