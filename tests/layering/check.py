#!/usr/bin/env python3
"""Fails where a file includes, or calls, what its layer must not (docs/architecture.md, "Layers").

    check.py ROOT          checks ROOT/include, ROOT/src and ROOT/examples
    check.py --self-test   checks that forbidden things are found
"""

import os
import re
import sys
import tempfile

# Folder -> the project's own folders its files may include from, besides include/chatcore and their own.
# The longest folder that matches is the one that counts.
MAY_INCLUDE = {
    "include": [],
    "src/protocol": [],
    "src/core": ["protocol"],
    "src/features": ["core", "protocol"],
    "src/client": ["core", "protocol"],
    "src/conformance": ["core"],
    "src/faults": ["core"],
    "src/engine": ["core", "features", "protocol"],
    "examples": [],
}
# Families of adapters: each folder below one is an adapter that reaches nothing but the public headers.
ADAPTERS = ["src/storage", "src/transport", "src/pubsub", "src/auth", "src/membership", "src/policy"]

# Foreign headers -> the folders that may include them.
FOREIGN = {
    r"google/": [],
    r"(?:.*/)?chatcore\.pb\.h": [],
    r"rocksdb/": ["src/storage/rocksdb"],
    r"boost/": ["src/transport/tcp"],
    r"cereal/": [],
    r"jwt\.h": ["src/auth/jwt"],
    r"openssl/": ["src/core", "src/features", "src/auth", "src/engine", "src/transport/tcp", "examples/backend"],
    r"xxhash\.h": ["src/protocol", "src/storage/rocksdb", "src/core", "src/features"],
    r"CLI/": ["examples"],
    r"nlohmann/": ["src/auth/jwt", "examples/backend"],
    r"sqlite3\.h|httplib\.h": ["examples/backend"],
}
# POSIX headers, for what the standard library does not have.
POSIX = re.compile(r"(?:sys|netinet|arpa)/[a-z_]+\.h|(?:unistd|fcntl|poll|signal|netdb|pthread|dirent|errno)\.h")
POSIX_FOLDERS = ["src/storage", "src/transport", "examples"]

# A library does not print, and does not end its host's process.
FORBIDDEN_CALLS = [
    (re.compile(r"\bstd\s*::\s*(?:cout|cerr|clog|wcout|wcerr|wclog)\b"), "prints"),
    (re.compile(r"(?<![\w.>])(?:std\s*::\s*)?(?:v?printf|v?fprintf|puts|fputs|putchar|perror)\s*\("), "prints"),
    (re.compile(r"(?<![\w.>])(?:std\s*::\s*)?(?:abort|exit|_exit|_Exit|quick_exit|terminate)\s*\("), "ends the process"),
    (re.compile(r"(?<![\w.>])(?:std\s*::\s*)?(?:signal|sigaction)\s*\("), "handles signals"),
    (re.compile(r"#\s*include\s*<(?:iostream|cassert|assert\.h)>"), "prints or ends the process"),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
# Comments and literals, to be blanked before calls are looked for.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
STANDARD = re.compile(r"[a-z_]+[0-9]*")


def is_below(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    """The folder whose rules a file follows, and what it may include; None where there are no rules."""
    for family in ADAPTERS:
        if is_below(path, family):
            parts = path.split("/")
            return ("/".join(parts[:3]) if len(parts) > 3 else family), []
    matching = [folder for folder in MAY_INCLUDE if is_below(path, folder)]
    if not matching:
        return None, []
    layer = max(matching, key=len)
    return layer, MAY_INCLUDE[layer]


def check_include(path, layer, allowed, quote, target):
    """Why this include is forbidden, or None."""
    if target.startswith("chatcore/"):
        return None
    if quote == "<" and STANDARD.fullmatch(target):
        return None
    for pattern, folders in FOREIGN.items():
        if re.match(pattern, target):
            if any(is_below(path, folder) for folder in folders):
                return None
            return f"only {', '.join(folders)} may include <{target}>"
    if quote == "<":
        if POSIX.fullmatch(target) and any(is_below(path, folder) for folder in POSIX_FOLDERS):
            return None
        return f"<{target}> is no standard header and not known here"
    if layer == "include":
        return f'"{target}": a public header includes <chatcore/...> and the standard library only'
    if layer == "examples":
        own = "/".join(path.split("/")[:2])
        if "/" not in target or is_below(os.path.normpath("examples/" + target), own):
            return None
        return f'"{target}": an example includes public headers only'
    if "/" not in target or target.startswith("."):  # relative to the file
        full = os.path.normpath(os.path.join(os.path.dirname(path), target))
    else:
        full = "src/" + target
    for folder in [layer] + ["src/" + name for name in allowed]:
        if is_below(full, folder):
            return None
    if os.path.dirname(layer) in ADAPTERS and os.path.dirname(full) == os.path.dirname(layer):
        return None  # what a family of adapters shares lies directly in its folder
    return f'{layer} must not include "{target}"'


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def check_text(path, text):
    if path in ("src/precompiled.h", "src/precompiled.cpp"):
        layer, allowed = "src", []
    else:
        layer, allowed = layer_of(path)
    if layer is None:
        return [f"{path}:1: this folder has no layer; give it one in tests/layering/check.py"]
    found = []

    def complain(position, why):
        found.append(f"{path}:{text.count(chr(10), 0, position) + 1}: {why}")

    for match in INCLUDE.finditer(text):
        why = check_include(path, layer, allowed, match.group(1), match.group(2))
        if why:
            complain(match.start(), why)
    if layer != "examples":
        code = NOISE.sub(blank, text)
        for pattern, why in FORBIDDEN_CALLS:
            for match in pattern.finditer(code):
                complain(match.start(), f"`{match.group(0).strip()}` {why}")
    return found


def check_tree(root):
    found, files = [], 0
    for top in ("include", "src", "examples"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if not name.endswith((".h", ".hpp", ".cpp", ".cc", ".inc")):
                    continue
                full = os.path.join(folder, name)
                files += 1
                with open(full, encoding="utf-8") as source:
                    found += check_text(os.path.relpath(full, root).replace(os.sep, "/"), source.read())
    return found, files


FORBIDDEN = [
    ("include/chatcore/a.h", '#include "core/shard.h"'),
    ("include/chatcore/a.h", "#include <boost/asio.hpp>"),
    ("include/chatcore/a.h", "#include <google/protobuf/message_lite.h>"),
    ("include/chatcore/a.h", "#include <sys/socket.h>"),
    ("include/chatcore/a.h", "inline void f() { std::cout << 1; }"),
    ("src/protocol/a.cpp", '#include "core/shard.h"'),
    ("src/core/a.cpp", '#include "storage/memory/memory_storage.h"'),
    ("src/core/a.cpp", '#include "features/messages.h"'),
    ("src/core/a.cpp", '#include "engine/engine_core.h"'),
    ("src/core/a.cpp", '#include "../features/messages.h"'),
    ("src/core/a.cpp", "#include <boost/asio.hpp>"),
    ("src/core/a.cpp", "#  include <rocksdb/db.h>"),
    ("src/core/a.cpp", '#include "chatcore.pb.h"'),
    ("src/core/a.cpp", "#include <sys/socket.h>"),
    ("src/core/a.cpp", "void f() { std::abort(); }"),
    ("src/core/a.cpp", "void f() { if (x) exit (1); }"),
    ("src/core/a.cpp", 'void f() { std::printf("%d", 1); }'),
    ("src/core/a.cpp", "void f() { std::signal(2, g); }"),
    ("src/core/a.cpp", "#include <iostream>"),
    ("src/features/a.cpp", '#include "transport/tcp/tcp.h"'),
    ("src/features/a.cpp", '#include "client/client_core.h"'),
    ("src/storage/rocksdb/a.cpp", '#include "storage/memory/memory_storage.h"'),
    ("src/storage/rocksdb/a.cpp", '#include "core/shard.h"'),
    ("src/storage/memory/a.cpp", "#include <rocksdb/db.h>"),
    ("src/storage/memory/a.cpp", '#include "../rocksdb/database.h"'),
    ("src/transport/loopback/a.cpp", "#include <boost/asio.hpp>"),
    ("src/transport/tcp/a.cpp", '#include "transport/loopback/loopback.h"'),
    ("src/transport/loopback/a.cpp", "#include <openssl/ssl.h>"),
    ("src/client/a.cpp", "#include <openssl/ssl.h>"),
    ("src/client/a.cpp", "#include <boost/asio.hpp>"),
    ("src/client/a.cpp", '#include "engine/engine_core.h"'),
    ("src/engine/a.cpp", "#include <boost/asio.hpp>"),
    ("src/engine/a.cpp", '#include "storage/rocksdb/rocksdb_storage.h"'),
    ("src/surprise/a.cpp", "#include <string>"),
    ("examples/hello/hello.cpp", '#include "core/shard.h"'),
    ("examples/hello/hello.cpp", "#include <rocksdb/db.h>"),
]
ALLOWED = [
    ("include/chatcore/a.h", "#include <chatcore/ids.h>\n#include <string_view>\n#include <cstdint>"),
    ("src/protocol/a.cpp", '#include "protocol/codec.h"\n#include <xxhash.h>'),
    ("src/core/a.cpp", '#include "core/shard.h"\n#include "protocol/codec.h"'),
    ("src/core/a.cpp", '// never std::abort(), printf( or exit(\nconst char* s = "exit(1)"; void f() { std::snprintf(b, 9, s); }'),
    ("src/core/a.cpp", "void f() { session.exit(); log->printf(1); queue_exit(2); }"),
    ("src/features/a.cpp", '#include "core/shard.h"\n#include "features/messages.h"'),
    ("src/storage/rocksdb/a.cpp", '#include <rocksdb/db.h>\n#include "storage/rocksdb/keys.h"\n#include <sys/stat.h>'),
    ("src/storage/memory/a.cpp", '#include "tables.h"\n#include "../check_change.h"\n#include "storage/check_change.h"'),
    ("src/transport/tcp/a.cpp", "#include <boost/asio/ip/tcp.hpp>\n#include <openssl/ssl.h>"),
    ("src/client/a.cpp", '#include "core/link_target.h"\n#include "protocol/codec.h"'),
    ("src/engine/a.cpp", '#include "features/table.h"\n#include "core/shard.h"'),
    ("examples/hello/hello.cpp", '#include <chatcore/chatcore.h>\n#include <iostream>\nint main() { std::puts("x"); }'),
    ("examples/chat_cli/chat_cli.cpp", '#include <CLI/CLI.hpp>\n#include "lines.h"\n#include <poll.h>'),
]


def self_test():
    wrong = []
    with tempfile.TemporaryDirectory() as root:
        for path, text in FORBIDDEN + ALLOWED:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as out:
                out.write(text + "\n")
            found, _ = check_tree(root)
            if bool(found) != ((path, text) in FORBIDDEN):
                wrong.append(f"{path}: {text!r} gave {found}")
            os.remove(full)
    for line in wrong:
        print(line)
    print(f"self-test: {len(FORBIDDEN)} forbidden, {len(ALLOWED)} allowed, {len(wrong)} wrong")
    return 1 if wrong else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 1:
        print(__doc__)
        return 2
    found, files = check_tree(arguments[0])
    for line in found:
        print(line)
    print(f"layering: {files} files, {len(found)} forbidden")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
