"""The process that owns the servers of one lab, and ends with them when its starter does.

It is run by its path (``python -I -S guardian.py OPTIONS``), so it may import the standard library only. It is the
parent of every server: nobody else reaps them, so a process id that it reports cannot belong to a stranger.

What ends it, and every server with it by SIGKILL (which works on a frozen process too):

* its starter is gone: the pidfd of the starter, and ``getppid()`` as a second opinion. A pipe alone would not do: a
  child that the starter forked without exec holds the pipe open for as long as it lives;
* the starter executed another program or forgot its lab: the pipe on standard input is at its end;
* ``{"do": "down"}`` over its socket, SIGTERM, or its directory is gone.

If the guardian itself is killed, the kernel kills its servers (``PR_SET_PDEATHSIG``). That signal is sent when the
*thread* that forked ends, so it is safe here, where there is one thread, and would not be in the starter.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undaunted.lab import processes
else:  # beside us; the package is not there for a program that is run by its path
    _SPEC = importlib.util.spec_from_file_location("processes", Path(__file__).with_name("processes.py"))
    processes = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(processes)

POLL_S = 0.25  # how late the end of the starter is seen where the kernel has no pidfd
CLIENT_TIMEOUT_S = 1.0  # a client that connects and says nothing must not hold up the watch for long
REAP_TIMEOUT_S = 10.0
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
CAP_IPC_LOCK = 14
STOPPING = frozenset({signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL, signal.SIGINT})


class Guardian:
    """Spawns, signals and reports servers for whoever may open its socket, and watches over its own starter."""

    def __init__(self, *, directory: str, starter: int | None, locks: list[str], remove: list[str]) -> None:
        self.directory = directory
        self.starter = starter
        self.locks = locks
        self.remove = remove
        self.held: list[int] = []
        self.claims: list[socket.socket] = []
        self.servers: dict[str, processes.Server] = {}
        self.is_over = False
        self.pid = os.getpid()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.farewell: list[socket.socket] = []
        self.pidfd: int | None = None
        self.heir: int | None = None  # a pipe to the process that outlives us, where there is one

    def prepare(self) -> None:
        """Take the locks, listen, and begin to watch the starter.

        Raises:
            BlockingIOError: Another lab holds one of the locks; its ``filename`` says which.
        """
        for path in self.locks:
            held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(error.errno, "in use by another lab", path) from None
            self.held.append(held)
        os.chdir(self.directory)  # a socket's path may have 107 bytes at most; a relative one always fits
        self.listener.bind("keeper.sock")
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _ignore)  # not SIG_IGN, which the servers would inherit
        signal.signal(signal.SIGTERM, self.on_sigterm)
        self.selector.register(0, selectors.EVENT_READ, self.finish)
        if hasattr(os, "pidfd_open") and self.starter is not None:
            try:
                self.pidfd = os.pidfd_open(self.starter)
            except OSError:
                return  # gone already, or a kernel without it: `watch` sees it by getppid()
            self.selector.register(self.pidfd, selectors.EVENT_READ, self.finish)

    def watch(self) -> None:
        """Serve until something says that it is over."""
        while not self.is_over:
            now_s = time.monotonic()
            left_s = min((server.keep_pace(now_s, POLL_S) for server in self.servers.values()), default=POLL_S)
            for key, _ in self.selector.select(max(0.0, min(POLL_S, left_s))):
                key.data()
            if self.starter is not None and os.getppid() != self.starter:
                self.finish()
            if not Path(self.directory).is_dir():
                self.finish()
            self.reap_strangers()

    def reap_strangers(self) -> None:
        """Bury the children of servers that died before them: they are ours then, and the kernel keeps their names."""
        if self.heir is None:
            return
        ours = {server.process.pid for server in self.servers.values()}
        for pid in processes.children_of(self.pid):
            if pid not in ours and processes.letter(pid) == "Z":
                os.waitpid(pid, os.WNOHANG)

    def appoint_heir(self) -> int:
        """Fork a process that sees our end, also by SIGKILL, and ends what the kernel does not: stopped orphans."""
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        pipe, heir = os.pipe()
        if os.fork() != 0:
            os.close(pipe)
            return heir
        status = 1
        try:
            os.setsid()
            os.chdir("/")
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            os.dup2(pipe, 0)
            os.closerange(3, 1 << 20)  # the locks, the listener, and the other end of the pipe
            processes.outlive(0)
            status = 0
        finally:
            os._exit(status)

    def on_sigterm(self, _number: int, _frame: object) -> None:
        """Finish in good order."""
        self.finish()

    def finish(self) -> None:
        """Leave the watch at its next turn."""
        self.is_over = True

    def accept(self) -> None:
        """Answer one request: a line of JSON in, a line of JSON out."""
        connection, _ = self.listener.accept()
        connection.settimeout(CLIENT_TIMEOUT_S)
        try:
            with connection.makefile("rb") as lines:
                request = json.loads(lines.readline() or b"null")
            answer = self.answer(request)
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except (OSError, ValueError) as error:
            sys.stderr.write(f"a client was not served: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
        else:
            if self.is_over:
                self.farewell.append(connection)  # its end tells the client that all is over
                return
        connection.close()

    def answer(self, request: Any) -> dict[str, Any]:
        """Do what a request asks for."""
        try:
            verb = getattr(self, f"do_{request['do']}", None)
            if verb is None:
                return {"error": f"this guardian knows no verb {request['do']}"}
            found: dict[str, Any] = verb(**request["with"])
        except (OSError, TypeError, KeyError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return found

    def do_claim(self, *, host: str, port: int) -> dict[str, Any]:
        """Keep a port for as long as this process lives, so that no other lab of any user takes what it stands for."""
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((host, port))
        except OSError as error:
            claim.close()
            return {"errno": error.errno}
        self.claims.append(claim)
        return {"errno": None}

    def do_spawn(
        self,
        *,
        node: str,
        argv: list[str],
        cwd: str,
        log: str,
        env: dict[str, str | None],
        may_lock_memory: bool,
        tree: str | None = None,
        owner: list[int] | None = None,
    ) -> dict[str, Any]:
        """Start a server; its output is appended to ``log``.

        Its children are found by the directory ``tree`` where one is named, and it runs as the user and the group that
        ``owner`` names.
        """
        known = self.servers.get(node)
        if known is not None and known.describe()["state"] != "down":
            return {"error": f"{node} is running already"}
        with Path(log).open("ab") as output:
            process = subprocess.Popen(  # noqa: S603
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={name: value for name, value in (os.environ | env).items() if value is not None},
                start_new_session=True,
                user=None if owner is None else owner[0],
                group=None if owner is None else owner[1],
                extra_groups=None if owner is None else [],
                # It runs when the user has been changed: that change would undo what ties the process to its parent.
                preexec_fn=self.bind_to_guardian if may_lock_memory else self.bind_and_unlock,  # noqa: PLW1509 - one thread
            )
        if tree is None:
            self.servers[node] = processes.Server(process)
        else:
            self.servers[node] = found = processes.Tree(process, tree)
            if self.heir is None:
                self.heir = self.appoint_heir()
            os.write(self.heir, os.fsencode(found.directory) + b"\n")
        return self.servers[node].describe()

    def bind_to_guardian(self) -> None:
        """In the new process, before it becomes the server: ask the kernel to kill it when the guardian ends."""
        if self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != self.pid:
            os._exit(127)

    def bind_and_unlock(self) -> None:
        """The same for a server that would pin all its memory: as root it may do so unless the right is dropped."""
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        self.libc.prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)  # refused to all but root, who alone has it
        self.bind_to_guardian()

    def do_signal(self, *, node: str, signal: int) -> dict[str, Any]:
        """Send a signal to a server, which ends a slow-down if it is one that stops or ends it, and report it."""
        if signal in STOPPING:
            self.servers[node].set_pace(None)
        self.servers[node].signal(signal)
        return self.servers[node].describe()

    def do_pace(self, *, node: str, spells_s: list[float] | None) -> dict[str, Any]:
        """Slow a server down, or let it run on, and report it."""
        server = self.servers[node]
        server.set_pace(None if spells_s is None else (spells_s[0], spells_s[1]))
        return server.describe()

    def do_status(self) -> dict[str, Any]:
        """Report every server that was ever started."""
        return {"pid": self.pid, "servers": {name: server.describe() for name, server in self.servers.items()}}

    def do_detach(self) -> dict[str, Any]:
        """Live on without the starter, until ``down``."""
        self.starter = None
        self.selector.unregister(0)
        if self.pidfd is not None:
            self.selector.unregister(self.pidfd)
        return {}

    def do_down(self) -> dict[str, Any]:
        """End everything; the connection closes when nothing is left."""
        self.finish()
        return {}

    def end(self) -> None:
        """Kill every server, wait until none is left, and remove what the lab made."""
        for server in self.servers.values():
            server.signal(signal.SIGKILL)
        deadline = time.monotonic() + REAP_TIMEOUT_S
        for server in self.servers.values():
            while server.describe()["state"] != "down" and time.monotonic() < deadline:
                time.sleep(0.002)
        if self.heir is not None:
            os.close(self.heir)
            while processes.children_of(self.pid) and time.monotonic() < deadline:
                self.reap_strangers()
                time.sleep(0.002)
        os.chdir("/")
        for path in self.remove:
            shutil.rmtree(path, ignore_errors=True)


def _ignore(_number: int, _frame: object) -> None:
    """A handler that does nothing."""


def main() -> int:
    """Guard one lab from its start to its end."""
    os.umask(0o077)
    guardian = Guardian(**json.loads(sys.argv[1]))
    try:
        guardian.prepare()
    except OSError as error:
        print(json.dumps({"error": error.strerror, "path": error.filename, "errno": error.errno}), flush=True)  # noqa: T201
        return 1
    print(json.dumps({"pid": guardian.pid}), flush=True)  # noqa: T201
    os.dup2(2, 1)  # the starter may be gone when something is printed next
    try:
        guardian.watch()
    finally:
        guardian.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
