from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from foal.predict.report.svg import cut, element, line, picture, polyline, text

TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)


@given(TEXTS)
def test_any_text_stays_text(content: str) -> None:
    parsed = ElementTree.fromstring(picture(10, 10, [text(0, 0, content)], label=content))
    assert [child.tag for child in parsed] == ["text"]
    assert (parsed[0].text or "") == content
    assert parsed.attrib["aria-label"] == content


def test_attributes_are_spelled_as_in_svg_and_numbers_are_short() -> None:
    shown = element("rect", class_="bar", stroke_width=1.50, x=1 / 3, y=None)
    assert shown == '<rect class="bar" stroke-width="1.5" x="0.33"></rect>'
    assert polyline([(1, 2.25), (3, 4)], "curve") == '<polyline points="1.0,2.2 3.0,4.0" class="curve"></polyline>'
    assert 'class="grid"' in line(0, 0, 1, 1, "grid")


@given(TEXTS, st.integers(3, 20))
def test_cut_names_have_at_most_the_length_and_both_ends(name: str, length: int) -> None:
    shown = cut(name, length)
    assert len(shown) <= length
    if shown != name:
        assert shown.startswith(name[: length // 2])
        assert name.endswith(shown.partition("…")[2])
