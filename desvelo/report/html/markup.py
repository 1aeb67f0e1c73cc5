"""HTML that cannot be broken out of: text becomes markup only by being escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

VOID = frozenset({"br", "hr", "input", "meta"})
# With them stand the signs that turn the direction of writing, for the text behind them too.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(anything: str) -> Html:
    r"""Write what anybody may have said so that it is shown and does nothing.

    Control characters and halves of characters, which HTML forbids, and what would turn the
    order of letters around, become the sign for what cannot be shown.

    >>> text("<b> & \x1b[31m")
    '&lt;b&gt; &amp; �[31m'
    """
    return Html(escape(_CONTROLS.sub("\ufffd", anything)))


def join(parts: Iterable[str | None], between: str = "") -> Html:
    """Put parts after each other, escaping those that are no markup.

    >>> join(["<", Html("<br>"), None])
    '&lt;<br>'
    """
    return Html(
        (between if isinstance(between, Html) else text(between)).join(
            part if isinstance(part, Html) else text(part) for part in parts if part is not None
        )
    )


def element(name: str, /, *content: str | None, **attributes: str | bool | None) -> Html:
    """Return an element; ``class_`` is the attribute ``class``, ``aria_label`` ``aria-label``.

    An attribute that is None or False is left out, one that is True has no value.

    >>> element("p", "1 < 2", element("br"), class_="note", hidden=True, id=None)
    '<p class="note" hidden>1 &lt; 2<br></p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(attribute if value is True else f'{attribute}="{text(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in VOID else f"{opening}{join(content)}</{name}>")


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    marked: Iterable[int] = (),
    noted: Iterable[int] = (),
) -> Html:
    r"""Return a table that scrolls by itself when the page is too narrow for it.

    ``numbers`` are the columns that are set flush right, ``marked`` the rows that are bad news,
    ``noted`` others that stand out. The caption is for screen readers: a heading stands above.
    The first cell names its row.

    >>> '<th scope="row">a</th>' in table("t", ["x", "y"], [["a", "1"]], numbers=[1])
    True
    """
    right = set(numbers)
    tones = dict.fromkeys(noted, "noted") | dict.fromkeys(marked, "marked")

    def cell(index: int, said: str, name: str, scope: str | None) -> Html:
        return element(name, said, scope=scope, class_="number" if index in right else None)

    body = [
        element(
            "tr",
            *(
                cell(index, said, "td" if index else "th", None if index else "row")
                for index, said in enumerate(row)
            ),
            class_=tones.get(number),
        )
        for number, row in enumerate(rows)
    ]
    headings = element("tr", *(cell(i, said, "th", "col") for i, said in enumerate(head)))
    return element(
        "div",
        element(
            "table",
            element("caption", caption, class_="unseen"),
            element("thead", headings),
            element("tbody", *body),
        ),
        class_="scroll",
        role="region",
        aria_label=caption,
        tabindex="0",
    )


def listed(items: Iterable[str]) -> Html | None:
    """Return a list, or nothing for no items."""
    lines = [element("li", item) for item in items]
    return element("ul", *lines) if lines else None
