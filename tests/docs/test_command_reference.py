"""The guide of the command line says what the help of the commands says."""

from tests.docs.command_reference import GUIDE, HEADING, render_reference


def test_the_guide_describes_every_command_as_its_help_does() -> None:
    _, _, written = GUIDE.read_text("utf-8").partition(HEADING)
    assert HEADING + written == render_reference(), "run `make reference`"
