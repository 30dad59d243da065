"""Jupyter's server: where it listens, which folder it shows, and the token that opens it."""

import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821  # Jupyter puts it there
c.ServerApp.ip = "0.0.0.0"  # noqa: S104  # the compose file publishes the port on loopback only
c.ServerApp.port = 8888
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/jovyan/work"
c.IdentityProvider.token = os.environ["JUPYTER_TOKEN"]
