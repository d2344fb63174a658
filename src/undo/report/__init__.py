"""Results to one static page."""
