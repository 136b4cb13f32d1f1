"""What sslscan sees of a chat server on TLS: every protocol, cipher and group it takes is asserted.

    sslscan_test.py DIRECTORY_OF_PROGRAMS
"""

import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

from secured_server import NAME, TIMEOUT, SecuredServer

PROGRAMS = ""
CIPHERS = {
    "TLSv1.3": ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
    "TLSv1.2": ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"],
}


class Sslscan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with SecuredServer(PROGRAMS) as server:
            done = subprocess.run(["sslscan", "--no-colour", "--sni-name=" + NAME, "--xml=-",
                                   f"{server.address}:{server.port}"],
                                  check=True, capture_output=True, text=True, timeout=TIMEOUT)
            cls.alive = server.chat("alice", "still here", to="@bob").returncode == 0
        cls.seen = xml.fromstring(done.stdout).find("ssltest")

    def all(self, what):
        return self.seen.findall(what)

    def test_tls_1_2_and_1_3_only(self):
        enabled = {p.get("type") + p.get("version") for p in self.all("protocol") if p.get("enabled") == "1"}
        known = {p.get("type") + p.get("version") for p in self.all("protocol")}
        self.assertEqual(enabled, {"tls1.2", "tls1.3"})
        self.assertEqual(known - enabled, {"ssl2", "ssl3", "tls1.0", "tls1.1"})  # were looked for

    def test_aead_ciphers_with_forward_secrecy_only(self):
        for version, expected in CIPHERS.items():
            ciphers = [c for c in self.all("cipher") if c.get("sslversion") == version]
            self.assertEqual([c.get("cipher") for c in ciphers], expected)
            self.assertEqual([c.get("status") for c in ciphers], ["preferred", "accepted", "accepted"])
        self.assertEqual(len(self.all("cipher")), 6)
        self.assertLessEqual({c.get("strength") for c in self.all("cipher")}, {"strong", "acceptable"})

    def test_strong_groups_only(self):
        self.assertGreaterEqual(min(int(g.get("bits")) for g in self.all("group")), 128)
        names = {g.get("name").split(" ")[0] for g in self.all("group")}
        self.assertEqual(names, {"x25519", "secp256r1", "secp384r1"})

    def test_no_renegotiation_compression_or_heartbleed(self):
        self.assertEqual([r.get("supported") for r in self.all("renegotiation")], ["0"])
        self.assertEqual([c for c in self.all("compression") if c.get("supported") != "0"], [])
        self.assertEqual({h.get("vulnerable") for h in self.all("heartbleed")}, {"0"})

    def test_the_certificate_is_the_one_given(self):
        certificate = self.seen.find("certificates/certificate")
        self.assertEqual(certificate.findtext("subject"), NAME)
        self.assertEqual(certificate.findtext("expired"), "false")

    def test_the_server_goes_on(self):
        self.assertTrue(self.alive)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
