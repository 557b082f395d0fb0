"""``taskctl completion``: the script that teaches a shell the verbs, options and program names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from taskd.base import exit_codes
from taskd.cli.output import echo_json, json_option

_PROGRAM = "taskctl"
_VARIABLE = "_TASKCTL_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion(context: click.Context, *, shell: str, as_json: bool) -> int:
    """Print the completion script of a shell.

    Bash: put it into /etc/bash_completion.d/taskctl, or eval it in ~/.bashrc. Zsh: into a directory of
    $fpath as _taskctl. Fish: into ~/.config/fish/completions/taskctl.fish. The completion asks the running
    daemon for programs and running tasks. It reads queues, tasks, entries and dead letters from the
    configuration and the files of this host. It offers no name that it cannot learn within a second.

    Example: taskctl completion bash > /etc/bash_completion.d/taskctl
    """
    found = get_completion_class(shell)
    assert found is not None, "click knows every shell of the choice"
    completer = found(context.find_root().command, {}, _PROGRAM, _VARIABLE)
    # Not source(): it runs bash to look at its version.
    script = completer.source_template % completer.source_vars()
    if as_json:
        echo_json({"shell": shell, "script": script})
    else:
        click.echo(script)
    return exit_codes.OK
