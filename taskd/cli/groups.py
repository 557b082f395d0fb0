"""A group of commands that says which one was meant."""

from __future__ import annotations

import click

from taskd.base.nearest import nearest


class CommandGroup(click.Group):
    """For every group of taskctl, the outermost too."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name that means none is answered with the nearest one, or with all."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            hint = nearest(args[0], known)
            suffix = f'; did you mean "{hint}"?' if hint else f"; expected one of {', '.join(known)}"
            ctx.fail(f'there is no command "{args[0]}"{suffix}')
        return super().resolve_command(ctx, args)
