"""Files that people upload: reading a form as it comes, keeping its bytes, saying what they are."""
