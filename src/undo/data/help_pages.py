"""LibreOffice's help in English and Korean, from Debian packages that need only be unpacked."""

from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

from undo.data.texts import Parallel
from undo.spec.errors import UserError

SHORTEST = 20  # characters of a line; shorter ones are names of menus and buttons
BLOCKS = ("p", "h1", "h2", "h3", "h4", "h5", "h6")


@lru_cache(maxsize=2)
def help_pages(folder: str) -> list[Parallel]:
    """The lines of every page that both languages have, by the page's path; a line counts where it first stands.

    Untranslated lines of the Korean pages are left out.
    """
    english, korean = (Path(folder).expanduser() / language / "text" for language in ("en-US", "ko"))
    paths = sorted(path.relative_to(korean).as_posix() for path in korean.rglob("*.html"))
    shared = [path for path in paths if (english / path).exists()]
    if not shared:
        raise UserError(
            f"no LibreOffice help in '{folder}'; run apt-get download libreoffice-help-en-us libreoffice-help-ko, "
            "unpack both with dpkg-deb -x FILE.deb DIR, and set folder: DIR/usr/share/libreoffice/help"
        )
    seen: set[str] = set()
    pages = [Parallel(path, _new(english / path, seen), _new(korean / path, seen)) for path in shared]
    return [page._replace(other=list(filter(_hangul, page.other))) for page in pages]


def _new(page: Path, seen: set[str]) -> list[str]:
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    lines = dict.fromkeys(" ".join(line.split()) for line in reader.lines)
    new = [line for line in lines if len(line) >= SHORTEST and line not in seen]
    seen.update(new)
    return new


def _hangul(line: str) -> bool:
    letters = [letter for letter in line if letter.isalpha()]
    return sum("가" <= letter <= "힣" for letter in letters) > len(letters) / 2


class _Reader(HTMLParser):
    """Collects the paragraphs and headings of a page's content, without the variants for other systems."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.inside = self.in_block = False
        self.spans: list[bool] = []  # whether each open span is a variant to leave out

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id") in ("DisplayArea", "SearchFrame"):
            self.inside = known["id"] == "DisplayArea"
        if tag == "span":
            self.spans.append(known.get("class") == "MAC")
        elif tag in BLOCKS:
            self.in_block = self.inside
            self.lines.append("")
            self.spans.clear()

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self.spans:
            self.spans.pop()
        elif tag in BLOCKS:
            self.in_block = False

    def handle_data(self, data: str) -> None:
        if self.in_block and not any(self.spans):
            self.lines[-1] += data
