"""`prune-env watch`: the verb."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from prune_env.cli.options import TableOptions
from prune_env.errors import SettingsError

MOST = 2
"""Runs side by side."""


@dataclass(frozen=True)
class Watch:
    """Show a run on a page, while it goes on or afterwards.

    RUN is the folder of a run of purify, train, benchmark or demo (--out). Give two to see them
    side by side. The page shows which heads went and when, accuracy against tau, what was paid, and
    what healing found and left; a click on a head asks the model itself. It is served to this
    machine alone, under a secret address, until Ctrl-C; nothing is asked of any other host.

    Attributes:
        runs: Folders of one or two runs.
        model: Folder or name of the classifier to ask, where the run does not say its own, or it
            has moved.
        data: Clean data to ask it on.
        port: Of this machine; 0 takes any that is free.
        host: Interface to serve on. Any but the default lets others who know the address read
            along.
        open: Open the page in the browser.
        wait: The run may begin later.
        tables: How tables of --data are read.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN2]")]
    model: str | None = None
    data: str | None = None
    port: int = 8421
    host: str = "127.0.0.1"
    open: bool = False
    wait: bool = False
    tables: TableOptions = field(default_factory=TableOptions)

    def run(self) -> None:
        """Serve the page until Ctrl-C."""
        import webbrowser

        from prune_env.cli.watch.origin import Origin, find_origin
        from prune_env.cli.watch.run_log import RunLog
        from prune_env.cli.watch.serve import address, bind, make_server, new_token, require_server

        require_server()
        if not 1 <= len(self.runs) <= MOST:
            raise SettingsError("Give one run, or two", actual=f"{len(self.runs)} runs")
        given = Origin(model=self.model, data=self.data, tables=self.tables)
        runs = [RunLog(path, wait=self.wait) for path in self.runs]
        for run in runs:
            find_origin(run.folder, given)  # what is damaged is told before anything is served
            if run.problem is not None:
                print(run.problem, file=sys.stderr)
        token = new_token()
        bound = bind(self.host, self.port)
        server = make_server(runs, given, token)
        place = address(bound, token)
        print(f"Watch it at {place} (Ctrl-C ends the page, not the run)", file=sys.stderr)
        if self.open:
            webbrowser.open(place)
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            print("The page is closed.", file=sys.stderr)
