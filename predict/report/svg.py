"""Elements of inline SVG: escaped, styled by classes, without a style attribute, which the page's policy forbids."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape


def element(name: str, *content: str, **attributes: object) -> Markup:
    """An SVG element; `class_` and `stroke_width` become `class` and `stroke-width`, None is left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{''.join(escape(part) for part in content)}</{name}>")


def picture(
    width: float, height: float, parts: Iterable[str], *, label: str, class_: str = "chart", stretch: bool = False
) -> Markup:
    """An SVG image of that size with an accessible name; stretched to the box of the page, or in proportion."""
    box = f"0 0 {width:g} {height:g}"
    return element(
        "svg",
        *parts,
        viewBox=box,
        width=width,
        height=height,
        role="img",
        aria_label=label,
        class_=class_,
        preserveAspectRatio="none" if stretch else None,
    )


def text(x: float, y: float, content: object, *, anchor: str = "start", class_: str = "label") -> Markup:
    """A text at a baseline."""
    return element("text", str(content), x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def cut(name: str, length: int) -> str:
    """A name of at most `length` characters, cut in the middle, where names of utterances differ least."""
    if len(name) <= length:
        return name
    return f"{name[: length // 2]}…{name[len(name) - (length - 1) // 2 :]}"


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
