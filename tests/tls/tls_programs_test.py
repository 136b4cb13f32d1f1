"""The example programs over TLS, as a user runs them.

    tls_programs_test.py DIRECTORY_OF_PROGRAMS
"""

import os
import socket
import ssl
import subprocess
import sys
import unittest

from secured_server import TIMEOUT, SecuredServer

PROGRAMS = ""


class Programs(unittest.TestCase):
    def test_two_talk(self):
        for threads in ("0", "1", "2"):
            with SecuredServer(PROGRAMS, "--threads", threads) as server:
                done = server.chat("alice", "hi bob", "x" * 16000, to="@bob")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(done.stdout.count("sent ["), 2)
                done = server.chat("bob", "/history", to="@alice", server=f"{server.address}:{server.port}",
                                   tls_name="localhost")
                self.assertRegex(done.stdout, r"#1\] alice: hi bob\n.*#2\] alice: xxx")

    def test_a_server_that_is_not_the_one_meant_is_refused_with_the_reason(self):
        with SecuredServer(PROGRAMS) as server, SecuredServer(PROGRAMS) as other:
            for options, reason in (({"tls_ca": other.authority}, "local issuer"),
                                    ({"tls_name": "example.org"}, "ostname mismatch"),
                                    ({"tls_ca": None, "tls_name": "localhost"}, "local issuer")):
                done = server.chat("alice", "psst", to="@bob", timeout=2, **options)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(reason, done.stderr)

    def test_plain_and_secured_do_not_mix(self):
        with SecuredServer(PROGRAMS) as server:
            done = server.chat("alice", "psst", to="@bob", timeout=2, tls_ca=None)
            self.assertEqual(done.returncode, 1, done.stdout)
            with socket.create_connection((server.address, server.port), timeout=TIMEOUT) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.assertEqual(plain.recv(100), b"")  # the end, and no reset
            self.assertEqual(server.chat("alice", "hi", to="@bob").returncode, 0)

    def test_what_a_connection_costs(self):
        with open(os.path.join(PROGRAMS, "chat_server"), "rb") as program:
            code = program.read()
        if b"__asan_init" in code or b"__tsan_init" in code:
            self.skipTest("a sanitizer's memory is not ours")
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100  # the beginning of one
        self.assertLess(self.cost(lambda server, connected: connected), 4)
        self.assertLess(self.cost(lambda server, connected: (connected.sendall(hello), connected)), 44)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            def secured(server, connected, version=version):
                context = ssl.create_default_context(cafile=server.authority)
                context.maximum_version = version
                return context.wrap_socket(connected, server_hostname="localhost")
            self.assertLess(self.cost(secured), 24)  # with its buffers it would be 50

    def cost(self, then, connections=400):
        """KiB of the server's memory for each connection with which `then` was done."""

        def memory(pid):
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                return int(next(line for line in file if line.startswith("Rss:")).split()[1])

        def settled(server):  # the server has seen to all that came before a chat that it has seen to
            self.assertEqual(server.chat("alice", "hi", to="@bob").returncode, 0)
            return memory(server.process.pid)

        with SecuredServer(PROGRAMS, "--login-timeout", "600000") as server:
            kept = [then(server, socket.create_connection((server.address, server.port))) for _ in range(50)]
            before = settled(server)
            kept += [then(server, socket.create_connection((server.address, server.port))) for _ in range(connections)]
            each = (settled(server) - before) / connections
            for one in kept:
                (one[1] if isinstance(one, tuple) else one).close()
            return each

    def test_a_wrong_pair_is_said_at_the_start(self):
        def start(*arguments):
            return subprocess.run([os.path.join(PROGRAMS, "chat_server"), "--port", "0", "--memory",
                                   "--insecure-dev-auth", *arguments], capture_output=True, text=True, timeout=TIMEOUT)

        with SecuredServer(PROGRAMS) as server, SecuredServer(PROGRAMS) as other:
            done = start("--tls-certificate", server.chain, "--tls-key", other.key)
            self.assertEqual(done.returncode, 1)
            self.assertIn("does not belong to the first certificate", done.stderr)
            self.assertEqual(start("--tls-certificate", server.chain).returncode, 2)
            self.assertEqual(start("--tls-key", server.key).returncode, 2)
            self.assertEqual(start("--tls-certificate", "/nowhere", "--tls-key", server.key).returncode, 2)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
