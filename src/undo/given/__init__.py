"""Models that people bring: made to forget (`robustify`), attacked (`audit`), and certified."""
