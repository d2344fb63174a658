"""`python -m undo` is `undo`."""

from undo.cli.main import main

if __name__ == "__main__":
    main()
