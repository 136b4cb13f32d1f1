"""The server is killed 20 times and keeps its word; one that forgets is found out."""
import json
import subprocess
import sys
import tempfile

PROGRAMS = sys.argv[1]


def crash(*arguments):
    with tempfile.TemporaryDirectory() as data:
        run = subprocess.run([f"{PROGRAMS}/chatcore-crash-test", "--json", "--data", f"{data}/run", *arguments],
                             capture_output=True, text=True, timeout=240)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout), run.stderr


code, kept, errors = crash("--kills", "20", "--seed", "1")
print(kept)
assert code == 0, errors
assert kept["kills"] == 20 and kept["acknowledged"] > 200, kept
assert all(kept[wrong] == 0 for wrong in ("lost", "duplicates", "inversions", "holes")), kept

code, kept, errors = crash("--kills", "2", "--durability", "memory")
print(kept)
assert code == 1 and kept["lost"] > 0, "a server that forgets what it acknowledged was not found out"
