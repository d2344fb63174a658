"""`undo demo` as it is called: without a study, on this machine alone, until it is interrupted."""

import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="gradio is not installed: pip install -c constraints.txt -e '.[demo]'")


def test_without_a_study_smoke_is_run_first_and_said_so(smoke):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "undo", "demo", "--port", str(port), "--out", str(smoke.out)]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore Ctrl-C
    )
    assert running.stdout and running.stderr
    try:
        address = next(line for line in running.stdout if line.startswith("demo of"))
        assert address == f"demo of {smoke.folder.name}: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
        with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert "undo demo" in page.read().decode()
        with pytest.raises(OSError), socket.create_connection((own_address(), port), timeout=5):
            pass
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0
        assert "no study named: 'smoke' is run first" in running.stderr.read()
    finally:
        running.kill()


def own_address() -> str:
    """By which other machines would reach this one; it need not be reachable."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return probe.getsockname()[0]


def test_a_folder_without_a_study_is_told(tmp_path):
    command = [sys.executable, "-m", "undo", "demo", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "results.json" in done.stderr and "Traceback" not in done.stderr
