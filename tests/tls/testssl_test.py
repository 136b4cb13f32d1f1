"""What testssl.sh finds on a chat server on TLS: nothing of severity MEDIUM or above, and no check that was not run.

    testssl_test.py DIRECTORY_OF_PROGRAMS
"""

import json
import os
import subprocess
import sys
import unittest

from secured_server import NAME, SecuredServer

PROGRAMS = ""
ALLOWED = {
    # An authority made for the test has nobody to ask about revocation; whether a host's has is the host's matter.
    "cert_revocation",
    # OpenSSL of this system has no RC4 (sslscan's test, and ours on hand-made hellos, see to it), and no engine.
    "RC4",
    "engine_problem",
}
BAD = {"WARN", "MEDIUM", "HIGH", "CRITICAL", "FATAL"}
GOOD = {"SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT",
        "cipherlist_LOW", "cipherlist_STRONG", "PFS", "cipher_order", "cert_chain_of_trust", "cert_trust", "heartbleed",
        "CCS", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV", "SWEET32",
        "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13"}


class Testssl(unittest.TestCase):
    def test_finds_nothing_weak(self):
        with SecuredServer(PROGRAMS) as server:
            found = os.path.join(server.folder.name, "found.json")
            done = subprocess.run(
                ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", server.address,
                 "--add-ca", server.authority, "--jsonfile", found, "--fast",
                 "--protocols", "--standard", "--pfs", "--server-preference", "--server-defaults", "--vulnerable",
                 f"{NAME}:{server.port}"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
            self.assertTrue(os.path.exists(found), done.stdout + done.stderr)
            with open(found, encoding="utf-8") as file:
                findings = json.load(file)
            self.assertEqual(server.chat("alice", "still here", to="@bob").returncode, 0)
        bad = [f"{f['severity']} {f['id']}: {f['finding']}" for f in findings
               if f["severity"] in BAD and f["id"] not in ALLOWED]
        self.assertEqual(bad, [], done.stdout)
        self.assertEqual(GOOD - {f["id"] for f in findings if f["severity"] == "OK"}, set(), done.stdout)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
