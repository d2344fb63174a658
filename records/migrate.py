"""Brings the records up to today's recipes: settings that are gone, and that no record used, are taken out.

python records/migrate.py
"""

import re
from pathlib import Path

GONE = {"jsd_teacher_share": "null"}
"""Setting: the value that says it was not used."""

if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*/results.json")):
        before = path.read_text(encoding="utf-8")
        after = before
        for name, unused in GONE.items():
            after = re.sub(rf'"{name}":\s*{unused},\s*', "", after)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path)
