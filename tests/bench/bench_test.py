#!/usr/bin/env python3
"""Runs every scenario of chatcore-bench for a moment, and the micro-benchmarks: nothing is measured here but that they
work, and find no error.

    bench_test.py PROGRAM_DIRECTORY
"""

import json
import os
import subprocess
import sys
import tempfile

KEYS = {"scenario", "durability", "messages_per_second", "deliveries_per_second", "latency_ms",
        "server_cpu_us_per_message", "server_cpu_us_per_delivery", "server_rss_bytes", "bytes_per_idle_session",
        "errors"}
ON_READ = ["--server-arg=--fan-out-on-read=10", "--server-arg=--fan-out-on-write=5"]
SLOW = ["slow", "--sessions", "12", "--stalled", "3", "--server-arg=--stalled-timeout=1500"]
PRESENCE = ["presence", "--clients", "40", "--rate", "200", "--server-arg=--presence-members=10"]
PRESENCE_KEYS = ["p99_ratio", "server_rss_bytes", "server_rss_growth_bytes"]
RUNS = [
    (["direct", "--pairs", "5"], ["messages_per_second", "latency_ms"]),
    (["direct", "--pairs", "5", "--rate", "200", "--durability", "process"], ["messages_per_second", "latency_ms"]),
    (["direct", "--pairs", "5", "--bare", "--rounds", "1"], ["bare", "ratios"]),
    (["direct", "--pairs", "5", "--durability", "memory"], ["server_cpu_us_per_delivery"]),
    (["group", "--clients", "20", "--bare", "--rounds", "2"], ["deliveries_per_second", "ratios"]),
    (["channel", "--sessions", "40", "--bare", "--rounds", "1"], ["last_ms", "bare_last_ms", "ratio"]),
    (["channel", "--sessions", "40", *ON_READ], ["last_ms"]),
    (["channel", "--sessions", "200", "--notify-only", *ON_READ], ["last_ms", "spread_ms", "last_read_ms"]),
    ([*SLOW, "--mebibytes", "8"], ["p99_ratio", "within_bound", "resumed_complete"]),
    (["history", "--clients", "3", "--bare", "--rounds", "1"], ["newest", "block_cache", "ratios"]),
    (["idle", "--clients", "50", "--bare", "--rounds", "1"], ["bytes_per_idle_session"]),
    (["reconnect", "--clients", "20"], ["resumed_after_seconds"]),
    (["list", "--clients", "60"], ["first_page_ms_warm", "first_page_ms_warm_p99", "first_page_ms_block_cache"]),
    (["list", "--clients", "10", "--durability", "memory"], ["first_page_ms_warm"]),
    (["typing", "--clients", "20", "--seconds", "1"], ["frames_a_session_a_tick", "server_cpu_us_per_frame"]),
    ([*PRESENCE, *ON_READ], PRESENCE_KEYS),
    ([*PRESENCE, "--reconnect", "--reconnects", "100"], PRESENCE_KEYS),
]

# What a broken server does, and what has to be said of it.
FAULTS = {"lose": "is missing", "twice": "comes twice", "seq": "a seq is not", "text": "the checksum"}
CHANNEL_FAULTS = {"twice": "comes twice", "seq": "a seq is not", "text": "the checksum"}


def run(words, data):
    done = subprocess.run(words, cwd=data, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    programs = os.path.abspath(sys.argv[1])
    bench = os.path.join(programs, "chatcore-bench")
    with open(os.path.join(programs, "chat_server"), "rb") as program:
        code = program.read()
    sanitized = b"__asan_init" in code or b"__tsan_init" in code  # a sanitizer's memory is not ours
    with tempfile.TemporaryDirectory() as data:
        for words, expected in RUNS:
            seconds = [] if "--seconds" in words else ["--seconds", "0.2"]
            words = [bench, *words, *seconds, "--warm-up", "0.1", "--no-pin", "--data", data, "--json"]
            figures = json.loads(run(words, data))
            if sanitized:
                expected = [key for key in expected if key != "within_bound"]
            missing = [key for key in KEYS if key not in figures] + [key for key in expected if not figures.get(key)]
            if missing or figures["errors"] != 0:
                sys.exit(f"{' '.join(words)}: missing {missing}: {figures}")
        if os.listdir(data):
            sys.exit(f"left behind: {os.listdir(data)}")
        faults = [("direct", *fault) for fault in FAULTS.items()]
        faults += [("channel", *fault) for fault in CHANNEL_FAULTS.items()]
        for scenario, fault, why in faults:
            done = subprocess.run([bench, scenario, "--clients", "5", "--seconds", "1", "--warm-up", "0.1", "--no-pin",
                                   "--data", data, "--bare", "--bare-arg=--fault", f"--bare-arg={fault}", "--json"],
                                  capture_output=True, text=True, timeout=60, check=False)
            if done.returncode != 1 or why not in json.loads(done.stdout)["error"]:
                sys.exit(f"{scenario}: fault {fault} is not noticed: {done.stdout}{done.stderr}")
        boundless = [bench, *SLOW, "--mebibytes", "80", "--server-arg=--outbox-bytes=1G", "--no-pin", "--data", data,
                     "--json"]
        if json.loads(run(boundless, data))["within_bound"]:
            sys.exit("a server that keeps all that a stalled reader misses is within the bound")
        refused = subprocess.run([bench, "direct", "--json", "--server", "/bin/false", "--data", data],
                                 capture_output=True, text=True, timeout=60, check=False)
        if refused.returncode != 1 or json.loads(refused.stdout)["errors"] == 0:
            sys.exit("a server that does not start is no error")
        output = run([os.path.join(programs, "chatcore-microbench"), "--benchmark_min_time=0.001"], data)
        if "ERROR" in output:
            sys.exit(output)


if __name__ == "__main__":
    main()
