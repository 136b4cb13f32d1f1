"""The library as it is installed, used by a project of somebody else's.

    package_test.py DIRECTORY_OF_PROGRAMS
"""

import pathlib
import subprocess
import sys
import tempfile


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    build = pathlib.Path(sys.argv[1]).parent
    cache = dict(line.split("=", 1) for line in (build / "CMakeCache.txt").read_text().splitlines() if "=" in line)
    sanitizers = cache["CHATCORE_SANITIZE:STRING"]
    flags = f"-fsanitize={sanitizers}" if sanitizers else ""
    host = pathlib.Path(__file__).parent / "host"
    with tempfile.TemporaryDirectory() as directory:
        prefix, out = f"{directory}/prefix", f"{directory}/build"
        run("cmake", "--install", build, "--prefix", prefix)
        run("cmake", "-S", host, "-B", out, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={cache['CMAKE_CXX_COMPILER:FILEPATH']}",
            f"-DCMAKE_CXX_FLAGS={flags}")
        run("cmake", "--build", out)
        said = run(f"{out}/host")
        if "checks, and a message" not in said:
            sys.exit(said)


main()
