"""The printed scripts complete commands, options and values in real shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
source <(framehook completion bash)
complete -p framehook
for words in "framehook webhooks re" "framehook list --status c" "framehook export --webhook-u"; do
    COMP_WORDS=($words) COMP_CWORD=$(($(wc -w <<< "$words") - 1))
    _framehook_completion framehook
    echo "${COMPREPLY[@]}"
done
"""
ZSH = """
autoload -U compinit && compinit -u -D
eval "$(framehook completion zsh)"
print "complete $_comps[framehook] framehook"
_arguments() { print -r -- "$*" }
for line in "framehook webhooks re" "framehook list --status c" "framehook export --webhook-u"; do
    words=(${=line}) CURRENT=$#words
    _framehook_completion
done
"""
FISH = """
framehook completion fish | source
complete framehook
for line in "framehook webhooks re" "framehook list --status c" "framehook export --webhook-u"
    complete --do-complete "$line"
end
"""
EXPECTED = {"recover", "redeliver", "remove", "complete", "cancelled", "--webhook-url"}


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (("bash", "--norc", "-c"), BASH),
        (("zsh", "--no-rcs", "-c"), ZSH),
        (("fish", "--no-config", "-c"), FISH),
    ],
    ids=["bash", "zsh", "fish"],
)
def test_a_shell_completes_commands_options_and_values(
    words: tuple[str, ...], script: str, tmp_path: Path
) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [*words, script],
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    registration, *answers = result.stdout.splitlines()
    assert registration.startswith("complete ")
    assert registration.endswith("framehook") or "framehook" in registration.split()
    found_words = {word for answer in answers for word in answer.replace('"', " ").replace(":", " ").split()}
    assert found_words >= EXPECTED, answers
    assert not {"rotate", "pending", "--webhook-event"} & found_words
