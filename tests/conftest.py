"""What every test stands on, wherever it is started from."""

import os
import signal
import threading
import time

import pytest
from hypothesis import settings

from memory_demo.offline.__main__ import server_for

# On CI, property-based tests try the same examples every time, so that a change is what makes one fail.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A shell has what it starts in its background ignore Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers():
    """One more than there are cores, as tests wait for processes, browsers and databases."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture
def serve():
    """Serves a stand-in on a free port of the loopback interface and gives its URL."""
    running = []

    def start(api):
        server = server_for(api)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=10)
