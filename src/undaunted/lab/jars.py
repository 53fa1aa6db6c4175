"""Fetches Cassandra as its authors publish it: as Java artifacts, with what they depend on."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undaunted.lab.cache import cache, exclusive
from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VERSION", "jars"]

VERSION = "5.0.8"
_ARTIFACT = f"org.apache.cassandra:cassandra-all:{VERSION}"
_THREADS = 4


def jars(*, progress: Callable[[str], object]) -> list[Path]:
    """The class path of Cassandra: from the cache, or fetched into it (70 MB, half a minute).

    Two processes may ask at once: one fetches, the other waits. A fetch that was cut off leaves nothing behind that
    could be taken for whole.

    Raises:
        LabError: Nothing is in the cache and nothing can be fetched.
    """
    place = cache() / f"cassandra-{VERSION}"
    if not place.is_dir():
        with exclusive(place.with_name(f"{place.name}.lock")):
            if not place.is_dir():
                progress(f"fetching Cassandra {VERSION}, once")
                _fetch(place)
    return sorted(place.glob("*.jar"))


def _fetch(place: Path) -> None:
    if importlib.util.find_spec("jgo") is None:
        raise LabError("The lab needs jgo to fetch Cassandra: pip install 'undaunted[lab]'.")
    fresh = place.with_name(f"{place.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed: we hold the lock
    try:
        found = _resolve(fresh / "repository")
        (fresh / "jars").mkdir()
        for jar in found:
            jar.rename(fresh / "jars" / jar.name)
        (fresh / "jars").rename(place)
    except OSError as error:  # of the disk, or of the network, whose errors are OSErrors too
        raise LabError(
            f"Cassandra {VERSION} is not in the cache {place.parent} and cannot be fetched "
            f"({type(error).__name__}: {str(error)[:200]}); the first lab needs a network, or a cache filled elsewhere."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _resolve(repository: Path) -> list[Path]:
    from jgo.maven import MavenContext  # noqa: PLC0415 - only where it is needed

    complaints = _Complaints()
    logger = logging.getLogger("jgo")
    logger.addHandler(complaints)
    try:
        context: Any = MavenContext(repo_cache=repository)
        named, needed = context.resolver.resolve([context.create_dependency(_ARTIFACT)])
        artifacts: list[Any] = [*named, *(each for each in needed if each.scope in {"compile", "runtime"})]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(_download, artifacts))
    except (RuntimeError, ValueError, AssertionError) as error:  # what jgo raises where a repository lacks something
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        logger.removeHandler(complaints)
    broken = [text for text in complaints.texts if "mismatch" in text]
    if broken:
        raise OSError(broken[0])
    for jar in found:
        if not zipfile.is_zipfile(jar):
            raise OSError(f"{jar.name} came incomplete")
    return found


def _download(dependency: Any) -> Path:
    return Path(dependency.artifact.resolve())


class _Complaints(logging.Handler):
    """Hears of a wrong checksum, of which jgo warns only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
