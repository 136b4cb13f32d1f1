"""A chat server that speaks TLS, for those who look at it from outside. Its certificate is made for the occasion."""

import os
import re
import subprocess
import tempfile

TIMEOUT = 60  # s, for what takes a moment
NAME = "localhost"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=TIMEOUT)


class SecuredServer:
    """Until the end of a `with`: .address and .port to talk to, .authority is the file with whom to trust."""

    def __init__(self, programs, *arguments):
        self.programs, self.arguments = programs, arguments

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="chatcore_tls_")
        path = lambda name: os.path.join(self.folder.name, name)
        self.authority, self.chain, self.key = path("authority.pem"), path("chain.pem"), path("key.pem")
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256")
        openssl("req", "-x509", *new, "-keyout", path("authority.key"), "-out", self.authority, "-days", "90",
                "-subj", "/CN=chatcore test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", *new, "-keyout", self.key, "-out", path("request.pem"), "-subj", "/CN=" + NAME)
        with open(path("extensions"), "w", encoding="utf-8") as file:
            file.write(f"subjectAltName=DNS:{NAME},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                       "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n"
                       "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("x509", "-req", "-in", path("request.pem"), "-CA", self.authority, "-CAkey", path("authority.key"),
                "-out", self.chain, "-days", "90", "-sha256", "-extfile", path("extensions"), "-CAcreateserial")
        self.process = subprocess.Popen(
            [os.path.join(self.programs, "chat_server"), "--port", "0", "--insecure-dev-auth", "--memory",
             "--tls-certificate", self.chain, "--tls-key", self.key, *self.arguments],
            stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on (\S+):(\d+)", line)
            if found:
                self.address, self.port = found.group(1), int(found.group(2))
                return self
        raise AssertionError("the server does not listen")

    def chat(self, user, *lines, **options):
        """chat_cli; an option `x_y=z` is --x-y z. The finished process."""
        options = {"tls_ca": self.authority, "server": f"{self.address}:{self.port}", **options}
        arguments = [os.path.join(self.programs, "chat_cli"), "--user", user]
        for name, value in options.items():
            if value is not None:
                arguments += ["--" + name.replace("_", "-"), str(value)]
        return subprocess.run(arguments, input="".join(line + "\n" for line in lines), capture_output=True, text=True,
                              timeout=TIMEOUT)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()
