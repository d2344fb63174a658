"""The live demo: ask a study's models, then attack one and watch."""
