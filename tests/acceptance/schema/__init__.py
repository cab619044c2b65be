"""How Schemathesis is run (`test_schema.py`)."""
