from io import StringIO

from rich.console import Console

from foal.predict.doctor.finding import failure, findings_json, findings_table, ok, verdict, warning

FINDINGS = [ok("a", "fine"), warning("b", "slow", "wait"), failure("c", "gone", "bring it back")]


def test_each_finding_is_a_line_with_its_remedy() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(findings_table(FINDINGS))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines == [
        ["OK", "a", "fine"],
        ["warning", "b", "slow;", "wait"],
        ["failure", "c", "gone;", "bring", "it", "back"],
        ["1", "failure,", "1", "warning"],
    ]
    assert verdict(FINDINGS[:1]) == "no problems found"


def test_the_json_says_whether_it_passed() -> None:
    assert findings_json(FINDINGS)["passed"] is False
    passed = findings_json(FINDINGS[:2])
    assert passed["passed"] is True
    assert passed["findings"][1] == {"check": "b", "level": "warning", "text": "slow", "remedy": "wait"}
