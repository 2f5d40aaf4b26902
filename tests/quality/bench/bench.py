#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Compares this monitor with the distribution's conmon, other binaries and a bare loop, and prints ratios.

    bench.py [--quick] [--case NAME]... [--rounds N] [--json FILE] [BINARY...]

It runs on a tmpfs with a minimal fake runtime. The monitors take turns in many short rounds; the table shows
the median and half the interquartile range. Every byte is checked: logs are read back, clients compare the
data that they get. Exit status 1 means that a case failed or data was lost; missed targets are only shown,
because the machine may be busy.
"""

import argparse
import datetime
import http.server
import json
import os
import pathlib
import random
import shutil
import select
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
GIB = 1 << 30
OWN = "this"
REFERENCE = "reference"
BARE = "bare"


class Failure(Exception):
    pass


class Answering(http.server.BaseHTTPRequestHandler):
    """A server that accepts all requests and keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Monitor:
    def __init__(self, name, path, bare=False):
        self.name = name
        self.path = str(path)
        self.bare = bare

    def version(self):
        if self.bare:
            return "read, frame, write"
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True, timeout=10)
        return " ".join(done.stdout.split()) or "no version"


# ---------------------------------------------------------------------------------------------- the measures
# and targets

HIGH, LOW = "high", "low"

# Runs a program with a private /run.
OWN_RUN = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && exec "$@"', "sh"]

# key: (description, unit, which direction is better)
MEASURES = {
    "lines100": ("100-byte lines", "MB/s", HIGH),
    "lines100.cpu": ("100-byte lines, CPU", "s/GiB", LOW),
    "lines16": ("16-byte lines", "MB/s", HIGH),
    "lines16.cpu": ("16-byte lines, CPU", "s/GiB", LOW),
    "lines100k": ("100 kB lines", "MB/s", HIGH),
    "lines100k.cpu": ("100 kB lines, CPU", "s/GiB", LOW),
    "bytes1": ("1-byte writes", "MB/s", HIGH),
    "attach1": ("one fast attach client", "MB/s", HIGH),
    "attach8": ("eight fast attach clients", "MB/s", HIGH),
    "pty": ("terminal, 100-byte lines", "MB/s", HIGH),
    "echo": ("request and answer through attach, median", "us", LOW),
    "echo.p99": ("... 99th percentile", "us", LOW),
    "echo-pty": ("... on a terminal, median", "us", LOW),
    "echo-pty.p99": ("... 99th percentile", "us", LOW),
    "echo-exec": ("... of an exec, median", "us", LOW),
    "echo-exec.p99": ("... 99th percentile", "us", LOW),
    "echo-exec-pty": ("... of an exec on a terminal, median", "us", LOW),
    "echo-exec-pty.p99": ("... 99th percentile", "us", LOW),
    "late": ("late client that never reads: speed with / without", "x", HIGH),
    "start": ("start: fork to pid on the sync pipe", "ms", LOW),
    "start.cpu": ("start and end, CPU of launcher and monitor", "ms", LOW),
    "start.cpu-all": ("... with runtime and container", "ms", LOW),
    "end": ("container gone to monitor gone", "ms", LOW),
    "exec": ("exec: fork to exit code on the sync pipe", "ms", LOW),
    "exec.cpu": ("exec, CPU of launcher and monitor", "ms", LOW),
    "memory1": ("idle, one: private dirty", "kB", LOW),
    "memory1.pss": ("idle, one: PSS", "kB", LOW),
    "memory1.rss": ("idle, one: RSS", "kB", LOW),
    "memory200": ("idle, one of 200: private dirty", "kB", LOW),
    "memory200.pss": ("idle, one of 200: PSS", "kB", LOW),
    "memory200.rss": ("idle, one of 200: RSS", "kB", LOW),
    "memory200.wakeups": ("wake-ups while idle, each of 200", "1", LOW),
    "journald200": ("idle with journald, one of 200: private dirty", "kB", LOW),
    "load": ("peak RSS under load", "kB", LOW),
    "load.after": ("private dirty after load and quiet", "kB", LOW),
    "journald100": ("journald, 100-byte lines", "MB/s", HIGH),
    "journald100.cpu": ("journald, 100-byte lines, CPU", "s/GiB", LOW),
    "syslog100": ("syslog over a unix stream, 100-byte lines", "MB/s", HIGH),
    "fluentd100": ("fluentd over a unix stream, 100-byte lines", "MB/s", HIGH),
    "syslogtcp100": ("syslog over TCP, 100-byte lines", "MB/s", HIGH),
    "fluentdtcp100": ("fluentd over TCP, 100-byte lines", "MB/s", HIGH),
    "syslogtls100": ("syslog over TLS by proxy, 100-byte lines", "MB/s", HIGH),
    "syslogtls100.tcp": ("... over TCP in the same rounds", "MB/s", HIGH),
    "otlp100": ("otlp over HTTP, 100-byte lines", "MB/s", HIGH),
    "otlp100.cpu": ("otlp over HTTP, 100-byte lines, CPU", "s/GiB", LOW),
    "otlp1": ("idle with otlp connected, one: private dirty", "kB", LOW),
    "fluentd1": ("idle with fluentd connected, one: private dirty", "kB", LOW),
    "json100": ("json-file, 100-byte lines", "MB/s", HIGH),
    "json100.k8s": ("... k8s-file in the same rounds", "MB/s", HIGH),
    "json100.cpu": ("json-file, 100-byte lines, CPU", "s/GiB", LOW),
    "json100.k8s.cpu": ("... k8s-file in the same rounds", "s/GiB", LOW),
    "both100.cpu": ("k8s-file and json-file, 100-byte lines, CPU", "s/GiB", LOW),
}

# measure; compared with: REFERENCE, BARE, None (absolute) or other measures of this monitor; bound
TARGETS = [
    ("lines100", REFERENCE, 2.5),
    ("lines100", BARE, 0.75),
    ("lines100.cpu", REFERENCE, 0.45),
    ("lines16", REFERENCE, 4.0),
    ("lines16", BARE, 0.75),
    ("lines100k", REFERENCE, 1.6),
    ("bytes1", REFERENCE, 0.9),
    ("attach1", REFERENCE, 1.6),
    ("attach8", REFERENCE, 1.3),
    ("pty", REFERENCE, 1.3),
    *((measure, against, bound) for measure in ("echo", "echo.p99", "echo-pty", "echo-pty.p99", "echo-exec",
                                                "echo-exec.p99", "echo-exec-pty", "echo-exec-pty.p99")
      for against, bound in ((REFERENCE, 1.0), (BARE, 1.2))),
    ("late", None, 0.75),
    ("start", REFERENCE, 0.75),
    ("start.cpu", REFERENCE, 0.65),
    ("end", REFERENCE, 1.0),
    ("memory200", REFERENCE, 0.58),
    ("memory200", None, 190),
    ("memory200.wakeups", None, 0),
    ("journald200", REFERENCE, 0.58),
    ("load", REFERENCE, 1.2),
    ("load.after", ("memory1",), 16),
    ("json100", ("json100.k8s",), 0.7),
    ("both100.cpu", ("json100.k8s.cpu", "json100.cpu"), 1.0),
    ("journald100", REFERENCE, 1.0),
    ("syslog100", None, 150),
    ("fluentd100", None, 150),
    ("syslogtls100", ("syslogtls100.tcp",), 0.5),
    ("fluentd1", ("memory1",), 40),
    ("otlp100", None, 150),
    ("otlp1", ("memory1",), 24),
]

# Compared by difference, not by ratio.
DIFFERENCES = {"load.after", "fluentd1", "otlp1"}


# ------------------------------------------------------------------------------------------------ one container

class Bench:
    def __init__(self, args):
        self.tools = pathlib.Path(args.build).resolve() / "tests" / "quality" / "bench"
        self.runtime = self.tools.parents[1] / "lib" / "runtime" / "fake-runtime"
        self.quick = args.quick
        self.rounds = args.rounds
        self.samples = {}
        self.failures = []
        self.alive = []
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="conmon-bench-", dir=args.directory))
        self.monitors = []

    def tool(self, name):
        return str(self.tools / ("bench-" + name))

    def add(self, measure, monitor, value):
        self.samples.setdefault(measure, {}).setdefault(monitor.name, []).append(value)

    def amount(self, quick, full):
        return quick if self.quick else full

    def writer(self):
        """The container's program, as a script of the fake runtime."""
        return "sh exec " + shlex.quote(self.tool("writer"))

    def directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="c", dir=self.root))
        for name in ("bundle", "exits", "persist"):
            (path / name).mkdir()
        os.mkfifo(path / "gate")
        return path

    def command(self, monitor, path, log, extra=()):
        """podman's command line."""
        if monitor.bare:
            attach = ["-a", str(path / "bundle" / "attach")] if "-i" in extra else []
            return [monitor.path, *(["-t"] if "-t" in extra else []), *attach,
                    "/dev/null" if "none" in log else str(path / "log"), self.tool("writer")]
        return [monitor.path, "--api-version", "1", "-c", "0123456789abcdef0123", "-u", "0123456789abcdef0123",
                "-r", str(self.runtime), "-b", str(path / "bundle"), "-p", str(path / "bundle" / "pidfile"),
                "-n", "bench", "--exit-dir", str(path / "exits"), "--persist-dir", str(path / "persist"),
                "--full-attach", *log, "--log-level", "warning",
                "-P", str(path / "conmon.pid"), *extra]

    def session(self, monitor, path, command, options=(), environment=None, prefix=()):
        """Runs containers to their end; returns a dict for each."""
        environment = {"FAKE_CONTAINER": self.writer(), **(environment or {})}
        argv = [*prefix, self.tool("session"), "--pid-file", str(path / "conmon.pid"), *options]
        argv += ["--bare"] if monitor.bare else []
        done = subprocess.run(argv + ["--", *command], capture_output=True, text=True,
                              env={**os.environ, **environment})
        if done.returncode != 0:
            raise Failure((done.stderr.strip() or "no message").splitlines()[-1])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check(self, path, line, total, form="k8s-file", ends="lf"):
        done = subprocess.run([self.tool("check"), form, ends, str(line), str(total), str(path / "log")],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure("log: " + (done.stdout.strip() or "cannot be checked"))

    def failed(self, monitor, failure):
        self.failures.append((monitor.name, str(failure)))
        print(f"\r{monitor.name}: {failure}", file=sys.stderr)

    def turns(self, rounds, run, monitors=None):
        """Runs each monitor once per round, in random order: the one that ran before has an influence."""
        order = list(self.monitors if monitors is None else monitors)
        chance = random.Random(0)
        broken = set()
        for _ in range(rounds):
            chance.shuffle(order)
            for monitor in order:
                if monitor.name in broken:
                    continue
                path = self.directory()
                try:
                    run(monitor, path)
                except Failure as failure:
                    broken.add(monitor.name)
                    self.failed(monitor, failure)
                finally:
                    self.end_all()
                    shutil.rmtree(path, ignore_errors=True)

    # -------------------------------------------------------------------------------------------- throughput

    def throughput(self, measure, line, total, chunk=65536, clients=0, terminal=False, monitors=None,
                   log=("-l", "k8s-file:{}/log"), form="k8s-file", sink=None, prefix=(), rounds=None,
                   environment=None):
        """Measures the throughput of `total` bytes. `log` is the part of the command line that selects the
        log, `form` the expected format of the file (None: no file), `sink` the address of a receiver,
        `prefix` a command that runs the monitor."""
        total -= total % line

        def run(monitor, path):
            options = ["--gate", str(path / "gate")]
            if clients:
                options += ["--attach", str(path / "bundle" / "attach"), "--clients", str(clients), "--line", str(line)]
            if sink:
                options += ["--sink", sink.format(path)]
            command = self.command(monitor, path, [part.format(path) for part in log], ["-t"] if terminal else [])
            result, = self.session(monitor, path, command, options,
                                   {"BENCH_WRITE": f"{line} {chunk} {total}", "BENCH_GATE": str(path / "gate"),
                                    **(environment or {})}, prefix)
            exits = [file.read_text() for file in (path / "exits").iterdir()]
            if exits != ([] if monitor.bare else ["0"]):
                raise Failure(f"exit codes in the exit files: {exits}")
            if form:
                self.check(path, line, total, form, "crlf" if terminal else "lf")
            if result["client_wrong"] or result["client_bytes"] != clients * total:
                raise Failure(f"clients got {result['client_bytes']} of {clients * total} bytes, "
                              f"{result['client_wrong']} packets wrong")
            if sink and max(result["sink_bytes"], result["sink_payload"]) < total:
                raise Failure(f"{result['sink_bytes']} bytes were received, {total} written")
            if prefix and result["sink_payload"] != total:
                raise Failure(f"{result['sink_payload']} bytes of messages were received, {total} written")
            if measure in MEASURES:
                self.add(measure, monitor, total / result["run"])
            if measure + ".cpu" in MEASURES:
                self.add(measure + ".cpu", monitor, result["cpu_monitor"] / 1e6 * GIB / total)

        self.turns(rounds or self.rounds, run, self.usable(monitors, clients or sink))

    def usable(self, monitors, no_bare):
        chosen = self.monitors if monitors is None else monitors
        return [m for m in chosen if not (no_bare and m.bare)]

    def lines100(self):
        self.throughput("lines100", 100, self.amount(64, 256) * MIB)

    def lines16(self):
        self.throughput("lines16", 16, self.amount(24, 96) * MIB)

    def lines100k(self):
        self.throughput("lines100k", 100000, self.amount(96, 384) * MIB, chunk=100000)

    def bytes1(self):
        self.throughput("bytes1", 100, self.amount(200, 600) * 1000, chunk=1)

    def attach1(self):
        self.throughput("attach1", 100, self.amount(48, 192) * MIB, clients=1)

    def attach8(self):
        self.throughput("attach8", 100, self.amount(16, 64) * MIB, clients=8)

    def pty(self):
        self.throughput("pty", 100, self.amount(16, 64) * MIB, terminal=True)

    def driver(self, name):
        """Whether this monitor has a log driver; prints a message if not."""
        if self.with_driver(name, self.monitors[:1]):
            return True
        print(f"this monitor has no log driver {name}: not measured", file=sys.stderr)
        return False

    def with_driver(self, name, monitors=None):
        """The monitors that have a log driver."""
        def has(monitor):
            done = subprocess.run([monitor.path, "--log-driver", "help"], capture_output=True, text=True)
            return done.returncode == 0 and name in [line.split()[0].split(":")[0]
                                                     for line in done.stdout.splitlines()[1:]]
        return [m for m in self.usable(monitors, True) if has(m)]

    def json100(self):
        """json-file, k8s-file and both with this monitor, in the same rounds."""
        if not self.driver("json-file"):
            return
        k8s, json_file = ["-l", "k8s-file:{}/log"], ["--log-driver", "json-file:{}/log"]
        both = [*k8s, "--log-driver", "json-file:{}/log.json"]
        for _ in range(self.rounds):
            for measure, log, form in (("json100.k8s", k8s, "k8s-file"), ("json100", json_file, "json-file"),
                                       ("both100", both, "k8s-file")):
                self.throughput(measure, 100, self.amount(64, 256) * MIB, monitors=self.monitors[:1], log=log,
                                form=form, rounds=1)

    def journald100(self):
        if os.geteuid() != 0:
            return print("journald100: only root can replace the socket of the journal", file=sys.stderr)
        self.throughput("journald100", 100, self.amount(4, 16) * MIB, log=["-l", "journald"], form=None,
                        sink="dgram:/run/systemd/journal/socket", prefix=OWN_RUN)

    def syslog100(self):
        if self.driver("syslog"):
            self.throughput("syslog100", 100, self.amount(16, 64) * MIB, monitors=self.monitors[:1], form=None,
                            log=["--log-driver", "syslog", "--log-opt", "mode=blocking",
                                 "--log-opt", "syslog-address=unix://{}/sink"],
                            sink="stream:{}/sink")

    def over_tcp(self, measure, name, monitors, rounds=None):
        port = free_port()
        self.throughput(measure, 100, self.amount(16, 64) * MIB, monitors=monitors, form=None, rounds=rounds,
                        log=["--log-driver", name, "--log-opt", "mode=blocking",
                             "--log-opt", f"{name}-address=tcp://127.0.0.1:{port}"],
                        sink=f"tcp:{port}")

    def syslogtcp100(self):
        self.over_tcp("syslogtcp100", "syslog", self.with_driver("syslog"))

    def fluentdtcp100(self):
        self.over_tcp("fluentdtcp100", "fluentd", self.with_driver("fluentd"))

    def syslogtls100(self):
        """With TCP in the same rounds, and the same receiver."""
        helper = pathlib.Path(self.monitors[0].path).parent / "tls" / "conmon-tls"
        if not self.driver("syslog"):
            return
        if not helper.exists() or not shutil.which("openssl"):
            return print("syslogtls100: needs tls/conmon-tls beside the monitor, and openssl", file=sys.stderr)
        key, certificate, both = (self.root / name for name in ("key.pem", "certificate.pem", "both.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        for _ in range(self.rounds):
            port = free_port()
            self.throughput("syslogtls100", 100, self.amount(64, 256) * MIB, monitors=self.monitors[:1], form=None,
                            rounds=1, sink=f"tls:{port}:{both}",
                            log=["--log-driver", "syslog", "--log-opt", "mode=blocking",
                                 "--log-opt", f"syslog-address=tcp+tls://127.0.0.1:{port}",
                                 "--log-opt", f"syslog-tls-ca-cert={certificate}"],
                            environment={"CONMON_TLS": str(helper)})
            self.over_tcp("syslogtls100.tcp", "syslog", self.monitors[:1], 1)

    def otlp100(self):
        if self.driver("otlp"):
            port = free_port()
            self.throughput("otlp100", 100, self.amount(16, 64) * MIB, monitors=self.monitors[:1], form=None,
                            log=["--log-driver", "otlp", "--log-opt", "mode=blocking",
                                 "--log-opt", f"otlp-endpoint=http://127.0.0.1:{port}"],
                            sink=f"http:{port}")

    def fluentd100(self):
        if self.driver("fluentd"):
            self.throughput("fluentd100", 100, self.amount(16, 64) * MIB, monitors=self.monitors[:1], form=None,
                            log=["--log-driver", "fluentd", "--log-opt", "mode=blocking",
                                 "--log-opt", "fluentd-address=unix://{}/sink"],
                            sink="stream:{}/sink")

    def late(self):
        """The throughput over some seconds, with and without a client that connects late and never reads."""
        seconds = {OWN: 10, REFERENCE: self.amount(3, 10)}

        def speed(monitor, path, stalled):
            environment = {"BENCH_WRITE": "100 65536 0", "BENCH_GATE": str(path / "gate"),
                           "BENCH_SECONDS": str(seconds.get(monitor.name, 10)), "BENCH_REPORT": str(path / "report")}
            options = ["--gate", str(path / "gate"), "--attach", str(path / "bundle" / "attach")]
            command = self.command(monitor, path, ["-l", f"k8s-file:{path}/log"], ["--log-size-max", str(64 * MIB)])
            self.session(monitor, path, command, options + (["--stalled", "200"] if stalled else []), environment)
            total = int((path / "report").read_text())
            self.check(path, 100, f"~{total}")
            return total

        def run(monitor, path):
            without = speed(monitor, path, False)
            (path / "log").unlink()
            self.add("late", monitor, speed(monitor, path, True) / without)

        self.turns(self.amount(1, 3), run, self.usable(None, True))

    # ------------------------------------------------------------------------------------- request and answer

    def round_trips(self, measure, log, options):
        count = self.amount(1000, 3000)

        def run(monitor, path):
            command = self.command(monitor, path, [part.format(path) for part in log], ["-i", *options])
            result, = self.session(monitor, path, command,
                                   ["--gate", str(path / "gate"), "--attach", str(path / "bundle" / "attach"),
                                    "--echo", str(count), "--size", "64"],
                                   {"BENCH_ECHO": "1", "BENCH_GATE": str(path / "gate")})
            self.add(measure, monitor, result["echo_p50"])
            self.add(measure + ".p99", monitor, result["echo_p99"])

        self.turns(self.rounds, run)

    def echo(self):
        log = ["-l", "k8s-file:{}/log"]
        self.round_trips("echo", log, [])
        self.round_trips("echo-pty", log, ["-t"])
        for measure, options in ("echo-exec", []), ("echo-exec-pty", ["-t"]):
            self.round_trips(measure, ["-l", "none"], ["-e", "--exec-process-spec", "/dev/null", *options])

    # --------------------------------------------------------------------------------------- start, end, exec

    def start(self):
        count = self.amount(20, 50)

        def run(monitor, path):
            command = self.command(monitor, path, ["-l", f"k8s-file:{path}/log"])
            for result in self.session(monitor, path, command, ["--kill", "3", "--repeat", str(count)],
                                       {"FAKE_CONTAINER": "pause"}):
                self.add("start", monitor, result["start"] / 1e3)
                self.add("start.cpu", monitor, (result["cpu_launcher"] + result["cpu_monitor"]) / 1e3)
                self.add("start.cpu-all", monitor, result["cpu_all"] / 1e3)
                if result["end"] >= 0:
                    self.add("end", monitor, result["end"] / 1e3)

        self.turns(self.rounds, run, self.usable(None, True))

    def exec(self):
        count = self.amount(20, 50)

        def run(monitor, path):
            command = self.command(monitor, path, ["-l", "none"], ["-e", "--exec-process-spec", str(path / "spec")])
            for result in self.session(monitor, path, command, ["--exec", "--repeat", str(count)],
                                       {"FAKE_CONTAINER": "exit 0"}):
                self.add("exec", monitor, result["exec"] / 1e3)
                self.add("exec.cpu", monitor, (result["cpu_launcher"] + result["cpu_monitor"]) / 1e3)

        self.turns(self.rounds, run, self.usable(None, True))

    # ------------------------------------------------------------------------------------------------- memory

    def launch(self, monitor, path, log, environment):
        """Starts a container that keeps running. Returns the pids of its monitor and of itself."""
        done = subprocess.run(self.command(monitor, path, log), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        if done.returncode != 0:
            raise Failure(done.stderr.strip() or f"status {done.returncode}")
        pids = [int(wait_for_text(path / "conmon.pid")), int(wait_for_text(path / "bundle" / "pidfile"))]
        self.alive.append(pids)
        return pids

    def end_all(self):
        for monitor, container in self.alive:
            try:
                fd = os.pidfd_open(monitor)
            except ProcessLookupError:
                fd = -1
            try:
                os.kill(container, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if fd >= 0:
                wait_for_end(fd)
        self.alive = []

    def idle(self, measure, count, log, window, monitors=None, container="pause"):
        os.sync()  # pages of a newly built program that are not written back would count as dirty

        def run(monitor, path):
            pids = []
            for i in range(count):
                sub = path / str(i)
                for name in ("bundle", "exits", "persist"):
                    (sub / name).mkdir(parents=True)
                pids.append(self.launch(monitor, sub, [part.format(sub) for part in log],
                                        {"FAKE_CONTAINER": container})[0])
            time.sleep(1 if container == "pause" else 4)  # buffers for output are released after a while
            before = sum(wakeups(pid) for pid in pids)
            time.sleep(window)
            if measure + ".wakeups" in MEASURES:
                self.add(measure + ".wakeups", monitor, (sum(wakeups(pid) for pid in pids) - before) / count)
            for pid in pids:
                memory = rollup(pid)
                self.add(measure, monitor, memory["Private_Dirty"])
                for key in ("Pss", "Rss"):
                    if f"{measure}.{key.lower()}" in MEASURES:
                        self.add(f"{measure}.{key.lower()}", monitor, memory[key])

        self.turns(self.amount(1, 3), run, self.usable(monitors, True))

    def memory1(self):
        self.idle("memory1", 1, ["-l", "k8s-file:{}/log"], 0)

    def memory200(self):
        self.idle("memory200", 200, ["-l", "k8s-file:{}/log"], self.amount(3, 10))

    def journald200(self):
        self.idle("journald200", 200, ["-l", "journald"], 0)

    def fluentd1(self):
        if not self.driver("fluentd"):
            return
        with tempfile.TemporaryDirectory(dir=self.root) as directory, socket.socket(socket.AF_UNIX) as server:
            server.bind(directory + "/sink")
            server.listen()
            self.idle("fluentd1", 1, ["-l", "k8s-file:{}/log", "--log-driver", "fluentd", "--log-opt",
                                      f"fluentd-address=unix://{directory}/sink"], 0, self.monitors[:1],
                      "print connect\\n\npause")

    def otlp1(self):
        if not self.driver("otlp"):
            return
        with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.idle("otlp1", 1, ["-l", "k8s-file:{}/log", "--log-driver", "otlp", "--log-opt",
                                   f"otlp-endpoint=http://127.0.0.1:{server.server_port}"], 0, self.monitors[:1],
                      "print connect\\n\npause")
            server.shutdown()

    def load(self):
        total = self.amount(256 * MIB, GIB)

        def run(monitor, path):
            environment = {"FAKE_CONTAINER": self.writer(), "BENCH_WRITE": f"100 65536 {total}",
                           "BENCH_REPORT": str(path / "report"), "BENCH_STAY": "1"}
            pid = self.launch(monitor, path, ["-l", f"k8s-file:{path}/log"], environment)[0]
            wait_for_text(path / "report", 120)
            time.sleep(self.amount(5, 10))
            self.add("load", monitor, status_number(pid, "VmHWM"))
            self.add("load.after", monitor, rollup(pid)["Private_Dirty"])

        self.turns(self.amount(1, 3), run, self.usable(None, True))


CASES = ["lines100", "lines16", "lines100k", "bytes1", "json100", "journald100", "syslog100", "fluentd100",
         "syslogtcp100", "fluentdtcp100", "syslogtls100", "otlp100", "attach1", "attach8", "pty", "echo", "late",
         "start", "exec", "memory1", "memory200", "journald200", "fluentd1", "otlp1", "load"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_text(path, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            text = path.read_text()
            if text:
                return text
        except FileNotFoundError:
            pass
        time.sleep(0.002)
    raise Failure(f"{path.name} did not appear")


def wait_for_end(fd):
    ended = select.select([fd], [], [], 20)[0]
    os.close(fd)
    if not ended:
        raise Failure("the monitor did not exit")


def status_number(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise Failure(f"no {key}")


def wakeups(pid):
    try:
        return status_number(pid, "voluntary_ctxt_switches")
    except FileNotFoundError as gone:
        raise Failure("the monitor has exited") from gone


def rollup(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError) as gone:
        raise Failure("the monitor has exited") from gone
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


# ----------------------------------------------------------------------------------------------------- results

def median(values):
    return statistics.median(values)


def spread(values):
    """Half the interquartile range."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def base_of(bench, against):
    """The value with which a measure is compared, None if that was not measured."""
    if against is None:
        return 1
    chosen = [bench.samples.get(measure, {}).get(OWN) for measure in against]
    return sum(median(values) for values in chosen) if all(chosen) else None


def judge(bench):
    """The results for all targets: (measure, against, bound, value, met)."""
    verdicts = []
    for measure, against, bound in TARGETS:
        by_name = bench.samples.get(measure, {})
        if against in (REFERENCE, BARE):
            base = median(by_name[against]) if against in by_name else None
        else:
            base = base_of(bench, against)
        if OWN not in by_name or base is None:
            continue
        own = median(by_name[OWN])
        value = own - base if measure in DIFFERENCES else own / base
        kept = value >= bound if MEASURES[measure][2] == HIGH else value <= bound
        verdicts.append({"measure": measure, "against": against, "bound": bound, "value": value, "kept": kept})
    return verdicts


def number(value):
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def verdict_text(verdict):
    sign = ">=" if MEASURES[verdict["measure"]][2] == HIGH else "<="
    mark = "ok  " if verdict["kept"] else "MISS"
    against = verdict["against"]
    if against is None:
        what = ""
    elif against in (REFERENCE, BARE):
        what = f" x {against}"
    else:
        what = (" above " if verdict["measure"] in DIFFERENCES else " x ") + " + ".join(against)
    return f"{mark} {number(verdict['value'])} ({sign} {number(verdict['bound'])}{what})"


def show(bench, verdicts):
    names = [m.name for m in bench.monitors]
    rows = [["", "unit", *names, "targets"]]
    for measure, (label, unit, _) in MEASURES.items():
        if measure not in bench.samples:
            continue
        cells = [bench.samples[measure].get(name) for name in names]
        rows.append([label, unit,
                     *[f"{number(median(c))} ±{number(spread(c))}" if c else "-" for c in cells],
                     ";  ".join(verdict_text(v) for v in verdicts if v["measure"] == measure)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def machine():
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": cpu[0] if cpu else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release,
            "load": os.getloadavg()}


def collect(bench, verdicts):
    measures = {}
    for measure, by_name in bench.samples.items():
        label, unit, better = MEASURES[measure]
        measures[measure] = {"label": label, "unit": unit, "better": better,
                             "results": {name: {"median": median(v), "spread": spread(v), "samples": v}
                                         for name, v in by_name.items()}}
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(),
            "quick": bench.quick,
            "monitors": {m.name: {"path": m.path, "version": m.version()} for m in bench.monitors},
            "measures": measures, "targets": verdicts,
            "failures": [{"monitor": name, "what": what} for name, what in bench.failures]}


# ----------------------------------------------------------------------------------------------------- the command

def parse():
    parser = argparse.ArgumentParser(description="Compares monitors.",
                                     epilog="contrib/bench --plot FILE draws the results of an earlier run with "
                                            "--json as an SVG image.")
    parser.add_argument("--build", default=HERE.parents[2] / "build", help="build directory")
    parser.add_argument("--monitor", help="this monitor; default src/conmon of the build directory")
    parser.add_argument("--reference", default="/usr/bin/conmon", help="the distribution's conmon")
    parser.add_argument("--quick", action="store_true", help="about two minutes, with smaller amounts")
    parser.add_argument("--case", action="append", choices=CASES, help="run only this case (repeatable)")
    parser.add_argument("--rounds", type=int, help="number of rounds")
    parser.add_argument("--json", help="write all samples to this file")
    parser.add_argument("--directory", default="/dev/shm", help="working directory, on a tmpfs")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("binary", nargs="*", help="more monitors to measure")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 9)
    return args


def monitors_of(bench, args):
    own = args.monitor or pathlib.Path(args.build) / "src" / "conmon"
    found = [Monitor(OWN, pathlib.Path(own).resolve())]
    if os.access(args.reference, os.X_OK):
        found.append(Monitor(REFERENCE, args.reference))
    else:
        print(f"{args.reference} is missing: no ratios", file=sys.stderr)
    for path in args.binary:
        name = pathlib.Path(path).name
        while name in [m.name for m in found]:
            name += "'"
        found.append(Monitor(name, pathlib.Path(path).resolve()))
    found.append(Monitor(BARE, bench.tool("bare"), bare=True))
    return found


def main():
    args = parse()
    if args.list:
        print("\n".join(CASES))
        return 0
    bench = Bench(args)
    try:
        bench.monitors = monitors_of(bench, args)
        for m in bench.monitors:
            print(f"{m.name}: {m.path} ({m.version()})")
        about = machine()
        print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, load {about['load'][0]:.1f}\n",
              flush=True)
        for case in args.case or CASES:
            started = time.monotonic()
            getattr(bench, case)()
            if sys.stderr.isatty():
                print(f"{case}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    finally:
        bench.end_all()
        shutil.rmtree(bench.root, ignore_errors=True)
    verdicts = judge(bench)
    show(bench, verdicts)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(collect(bench, verdicts), indent=1) + "\n")
    for name, what in bench.failures:
        print(f"FAILED: {name}: {what}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
