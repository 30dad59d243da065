"""Builds stand-ins under the names and tags that docker-compose.yml and the Dockerfiles ask for.

Each folder of images/ is one; README.md there tells what each is made of, and what it can't show.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

from installs import artifacts, machine
from maredata.settings import CHECKOUT, load_settings

HERE = Path(__file__).resolve().parent
BASE = "debian:bookworm-slim"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
CERTIFICATES = Path("/usr/local/share/ca-certificates")
# Mostly they wait for packages.
AT_ONCE = 4
INTERNAL = ("base", "java", "python", "browser")
STANDS_IN_FOR = {
    "python": "python",
    "maven": "maven",
    "kafka": "apache/kafka",
    "elasticsearch": "elasticsearch",
    "mariadb": "mariadb",
    "phpmyadmin": "phpmyadmin",
    "jupyter": "quay.io/jupyter/scipy-notebook",
    "kibana": "kibana",
    "kafka-rest": "confluentinc/cp-kafka-rest",
    "nginx": "nginx",
}


def asked_for() -> Iterator[str]:
    """Every image, as `repository:tag`, that the checkout's files take from a registry."""
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text("utf-8"))
    yield from (service["image"] for service in compose["services"].values() if "build" not in service)
    for dockerfile in ("Dockerfile", "connect/Dockerfile"):
        text = (CHECKOUT / dockerfile).read_text("utf-8")
        stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
        yield from (name for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if name not in stages)


def build(work: Path, say: Callable[[str], None]) -> None:
    """All images, in the engine that DOCKER_HOST names; what did not change comes from its cache.

    Raises:
        CalledProcessError: a build failed; its output is on the terminal.
        LookupError: an image is asked for that nothing stands in for.
    """
    tags: dict[str, str] = {}
    for image in asked_for():
        repository = image.rpartition(":")[0]
        folder = next((name for name, official in STANDS_IN_FOR.items() if official == repository), None)
        if folder is None:
            raise LookupError(f"nothing stands in for {image}: add a folder to {HERE / 'images'}, and its name here.")
        tags[folder] = image
    settings = load_settings()
    artifacts.fetch(settings, machine.find_java(settings), say)
    _import_base(work)
    contexts = {"engines": settings.engines, "tests": CHECKOUT / "tests", "certificates": _certificates(work)}

    def build_one(name: str) -> None:
        began = time.monotonic()
        logged(
            work / f"build-{name}.log",
            *("docker", "build", "--progress=plain", "--network=host", *options(name, tags)),
            *(f"--build-context={key}={path}" for key, path in contexts.items()),
            str(HERE / "images" / name),
        )
        say(f"{tags.get(name, name)} in {time.monotonic() - began:.0f} s")

    in_order(build_one, made_from())


def made_from() -> dict[str, set[str]]:
    """By image: those of ours that it is made from."""
    names = dict.fromkeys((*INTERNAL, *STANDS_IN_FOR))
    recipes = {name: (HERE / "images" / name / "Dockerfile").read_text("utf-8") for name in names}
    return {name: set(re.findall(r"^FROM mare-tests/(\S+)", recipe, re.MULTILINE)) for name, recipe in recipes.items()}


def in_order(build_one: Callable[[str], None], needs: dict[str, set[str]]) -> None:
    """Builds each once what it needs is there, a few at a time. Raises what the first that fails raises."""
    order = TopologicalSorter(needs)
    order.prepare()
    under_way: dict[Future[None], str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while order.is_active():
            under_way |= {pool.submit(build_one, name): name for name in order.get_ready()}
            for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                done.result()
                order.done(under_way.pop(done))


def options(name: str, tags: dict[str, str]) -> list[str]:
    """The names of a folder's image, and a label that says what it stands for."""
    official = [tags[name]] if name in tags else []
    return [
        f"--label=stand-in-for={''.join(official) or '-'}",
        *(f"--tag={tag}" for tag in (f"mare-tests/{name}", *official)),
    ]


def logged(log: Path, *command: str, cwd: Path = CHECKOUT) -> None:
    """Runs a command whose long output is of interest only where it fails. Raises CalledProcessError."""
    with log.open("w") as file:
        done = subprocess.run(command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-40:]), flush=True)
        raise subprocess.CalledProcessError(done.returncode, command)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def _import_base(work: Path) -> None:
    """Debian itself, made by its own tool from the package source that the machine uses."""
    archive = work / "debian.tar"
    if not archive.exists():
        draft = work / "draft.tar"
        sources = next(
            path
            for name in ("sources.list.d/debian.sources", "sources.list")
            if (path := Path("/etc/apt", name)).exists()
        )
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", *excluded, "bookworm", str(draft), str(sources)], check=True
        )
        draft.rename(archive)
    if not docker("images", "--quiet", BASE):
        docker("import", "--change", 'CMD ["bash"]', str(archive), BASE)


def _certificates(work: Path) -> Path:
    """The certificates that this machine trusts beside its system's, in a folder that exists everywhere."""
    folder = work / "certificates"
    folder.mkdir(exist_ok=True)
    for path in CERTIFICATES.glob("*.crt"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
