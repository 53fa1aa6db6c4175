"""How gunicorn runs the shop. Loaded before the fork; each worker connects by itself, and no hook is needed."""

preload_app = True
workers = 2
threads = 12
timeout = 30  # well above the deadline of a request
graceful_timeout = 15
keepalive = 5
control_socket_disable = True  # nobody asks it, and it would leave a file in the home directory
worker_tmp_dir = "/dev/shm"  # noqa: S108  # a busy disk must not make a worker look dead
