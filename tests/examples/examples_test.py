"""The examples, run as a user runs them: programs, pipes, signals, exit codes.

    examples_test.py DIRECTORY_OF_PROGRAMS
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = ""
TIMEOUT = 60  # s


def run(program, *arguments, text=""):
    return subprocess.run([os.path.join(PROGRAMS, program), *arguments], input=text, capture_output=True, text=True,
                          timeout=TIMEOUT)


class Server:
    """chat_server, until the end of a `with`."""

    def __init__(self, *arguments):
        self.arguments = [os.path.join(PROGRAMS, "chat_server"), "--port", "0", "--insecure-dev-auth", *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on (\S+)", line)
            if found:
                self.address = found.group(1)
                return self
        raise AssertionError("the server does not listen")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=TIMEOUT)[0]
        return self.process.returncode, output

    def chat(self, user, *lines, **options):
        arguments = ["--server", self.address, "--user", user]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        return run("chat_cli", *arguments, text="".join(line + "\n" for line in lines))


class Talker:
    """chat_cli at a terminal of its own, until the end of a `with`."""

    def __init__(self, server, user, **options):
        self.arguments = [os.path.join(PROGRAMS, "chat_cli"), "--server", server.address, "--user", user]
        for name, value in options.items():
            self.arguments += ["--" + name, value]

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.types("/list")
        self.sees("ok$")  # so he is there
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def types(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def sees(self, form):
        """The next line of that form; those before it are passed over."""
        seen = []
        for line in self.process.stdout:
            if re.match(form, line):
                return
            seen.append(line)
        raise AssertionError(f"not seen: {form}; but: {seen}")


class Programs(unittest.TestCase):
    def test_hello(self):
        done = run("hello")
        self.assertEqual((done.returncode, done.stdout), (0, "#1 hi bob\n"))

    def test_custom_storage(self):
        done = run("custom_storage")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("#4 bob: Noodles at one.", done.stdout)
        self.assertRegex(done.stdout, r"commits \d+, changes \d+, events [4-9]")

    def test_push_notifier(self):
        done = run("push_notifier")
        self.assertEqual((done.returncode, done.stdout), (0, "to carol's phone: alice: Noodles at one?\n"))


class ChatServer(unittest.TestCase):
    def test_wants_to_know_how_users_log_in(self):
        done = run("chat_server", "--memory")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--insecure-dev-auth", done.stderr)

    def test_help_and_a_wrong_option(self):
        self.assertEqual(run("chat_server", "--help").returncode, 0)
        self.assertEqual(run("chat_server", "--no-such-option").returncode, 2)

    def test_stops_cleanly(self):
        for threads in ("0", "1", "2"):
            with Server("--memory", "--threads", threads, "--shards", "2") as server:
                server.process.send_signal(signal.SIGUSR1)
                code, output = server.stop()
                self.assertEqual(code, 0)
                self.assertIn("messages 0", output)
                self.assertTrue(output.endswith("stopped\n"), output)

    def test_a_directory_in_use_and_one_that_is_not_ours(self):
        with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as other:
            with open(os.path.join(other, "letters.txt"), "w", encoding="utf-8") as file:
                file.write("Dear Bob,")
            with Server("--data", data):
                done = run("chat_server", "--port", "0", "--insecure-dev-auth", "--data", data)
                self.assertEqual(done.returncode, 1)
                self.assertIn("(in_use)", done.stderr)
            done = run("chat_server", "--port", "0", "--insecure-dev-auth", "--data", other)
            self.assertEqual(done.returncode, 1)
            self.assertIn("(not_ours)", done.stderr)

    def test_a_port_in_use(self):
        with Server("--memory") as server:
            port = server.address.rsplit(":", 1)[1]
            done = run("chat_server", "--port", port, "--insecure-dev-auth", "--memory")
            self.assertEqual(done.returncode, 1)
            self.assertIn("(in_use)", done.stderr)

    def test_tokens(self):
        with tempfile.NamedTemporaryFile("w", suffix=".tokens") as tokens:
            tokens.write("s3cret alice\n")
            tokens.flush()
            with Server("--memory") as server:
                server.__exit__()
                server.arguments = [a for a in server.arguments if a != "--insecure-dev-auth"] + ["--tokens", tokens.name]
                with server:
                    done = server.chat("alice", "hello", to="@bob", token="s3cret")
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    done = server.chat("alice", "hello", to="@bob", token="guess", timeout=10)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("unauthenticated", done.stdout)


class ChatCli(unittest.TestCase):
    def test_two_talk(self):
        with Server("--memory") as server:
            done = server.chat("alice", "hi bob", "are you there?", to="@bob")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"^sent \[(~\S+) #1\] memory\nsent \[\1 #2\] memory\n$")
            done = server.chat("bob", "/history", "yes", to="@alice")
            self.assertRegex(done.stdout, r"history \[~\S+ #1\] alice: hi bob\n")
            self.assertRegex(done.stdout, r"sent \[~\S+ #3\] memory\n$")

    def test_pushes_are_waited_for(self):
        with Server("--memory") as server:
            bob = subprocess.Popen([os.path.join(PROGRAMS, "chat_cli"), "--server", server.address, "--user", "bob"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            bob.stdin.write("/list\n/wait 2 30\n/status\n")
            bob.stdin.close()
            self.assertEqual(bob.stdout.readline(), "ok\n")  # he is there
            server.chat("alice", "one", "two", to="@bob")
            output = bob.stdout.read()
            bob.stdout.close()
            self.assertEqual(bob.wait(TIMEOUT), 0, output)
            self.assertRegex(output, r"alice: one\n.*alice: two\nstatus connected=yes user=bob unanswered=0 pushes=2")

    def test_a_group(self):
        with Server("--memory") as server:
            done = server.chat("alice", "/create Lunch bob", "soup?", "/edit 2 stew?", "oops", "/delete 4", "/add carol",
                               "/role carol admin", "/members", "/history", "/sync 2", "/read 2", "/open yes", "/list",
                               "/remove bob")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            for line in (r"ok \[\S+ #1\] memory", r"ok \[\S+ #3\] memory", r"member carol admin", r"ok 3 members",
                         r"history \[\S+ #1\] \* alice added alice, bob", r"history \[\S+ #2\] alice: stew\? \(edited\)",
                         r"history \[\S+ #4\] alice: \(deleted\)", r"sync \[\S+ #3\] \* alice edited #2: stew\?",
                         r"sync \[\S+ #5\] \* alice deleted #4", r"ok read up to #2", r"list \S+ unread 0 head \d+ Lunch"):
                self.assertRegex(done.stdout, "(?m)^" + line)
            group = re.search(r"\[(\S+) #1\]", done.stdout).group(1)
            done = server.chat("dave", "/join " + group, "hello", "/leave", "again")
            self.assertEqual(done.returncode, 1)
            self.assertIn("error: forbidden", done.stdout)
            done = server.chat("mallory", "let me in", to="nowhere")
            self.assertIn("error: no_such_conversation", done.stdout)

    def test_who_is_here_who_types_who_has_read(self):
        with Server("--memory") as server, Talker(server, "alice", to="@bob") as alice:
            alice.types("hi")
            alice.sees(r"sent \[~\S+ #1\]")
            with Talker(server, "bob", to="@alice") as bob:
                bob.types("/who")
                bob.sees("here alice online")
                bob.sees("here bob online")
                alice.types("/away")
                bob.sees(r"\* alice away")
                alice.types("/away no")
                bob.sees(r"\* alice online")
                alice.types("/typing")
                bob.sees(r"\[~\S+ ~\] \* typing: alice$")
                alice.types("there?")
                bob.sees(r"\[~\S+ ~\] \* typing: nobody$")
                bob.types("/read 2")
                alice.sees(r"\[~\S+ ~\] \* .*bob received #2, read #2")
                alice.types("/read")
                alice.sees("receipt bob received #2, read #2$")
                alice.types("/profile Al the  First")
                bob.sees(r"\* alice is Al the  First$")

    def test_what_is_marked_on_one_device_is_marked_on_the_other(self):
        with Server("--memory") as server:
            server.chat("alice", "one", "two", to="@bob")
            with Talker(server, "bob", to="@alice") as phone, Talker(server, "bob", device="tablet") as tablet:
                for command, answer, marked in (
                        ("/read 1", "ok read up to #1", "read #1"), ("/mute", r"ok ~\S+ read #1 muted", "read #1 muted"),
                        ("/pin", r"ok ~\S+ read #1 muted pinned", "read #1 muted pinned"),
                        ("/mute 60", r"ok ~\S+ read #1 muted until 2\S+ \S+Z pinned", r"read #1 muted until .* pinned"),
                        ("/unmute", r"ok ~\S+ read #1 pinned", "read #1 pinned"),
                        ("/pin no", r"ok ~\S+ read #1", "read #1"),
                        ("/archive", r"ok ~\S+ read #1 archived", "read #1 archived"),
                        ("/unread", r"ok ~\S+ read #1 archived unread", "read #1 archived unread"),
                        ("/receipts no", "ok", "nothing; hides receipts")):
                    phone.types(command)
                    phone.sees(answer + "$")
                    tablet.sees(rf"\[~\S+ #\d+\] \* bob marked .*{marked}$")
                phone.types("/list")
                phone.sees(r"list ~\S+ unread 1 head 2 @alice \(archived unread\) \|")
                phone.types("/badge")
                phone.sees("ok 1 unread in 1 conversations$")
                phone.types("/devices")
                phone.sees(r"session \S+ - since \S+ \S+ from 127.0.0.1:\d+, this one$")
                phone.sees(r"session \S+ tablet since \S+ \S+ from 127.0.0.1:\d+$")
                phone.sees("ok 2 sessions$")
                phone.types("/end")
                phone.sees("ok 1 ended$")
                tablet.sees("! closed: unauthenticated: ")
                self.assertEqual(tablet.process.wait(TIMEOUT), 1)

    def test_profiles(self):
        with Server("--memory") as server:
            done = server.chat("alice", "/profile Alice \u00c4", "/whois alice bob", "/profile", "/whois", "/typing maybe",
                               "/mute soon", "/receipts", "/pin yes")
            self.assertIn("profile alice is Alice \u00c4\nprofile bob has no profile\nok\n", done.stdout)
            for usage in ("/profile NAME", "/whois USER...", "/typing [no]", "/mute [MINUTES]", "/receipts yes|no",
                          "/pin [no]"):
                self.assertIn("error: " + usage + "\n", done.stdout)

    def test_a_retry_gets_the_first_answer(self):
        with tempfile.TemporaryDirectory() as data:
            with Server("--data", data) as server:
                first = server.chat("alice", "/key order-1 one bowl", "more", "/key order-1 one bowl", to="@bob")
                self.assertRegex(first.stdout, r"#1\] disk\n.*#2\] disk\n.*#1\] disk duplicate\n$")
            with Server("--data", data) as server:  # it was killed
                again = server.chat("alice", "/key order-1 one bowl", "/key order-1 two bowls", to="@bob")
                self.assertRegex(again.stdout, r"#1\] disk duplicate\nerror: conflict")

    def test_a_state_file_goes_on_where_it_was(self):
        with tempfile.TemporaryDirectory() as data:
            state = os.path.join(data, "bob.state")
            with Server("--data", os.path.join(data, "store")) as server:
                server.chat("bob", "/list", state=state)
                server.chat("alice", "one", "two", to="@bob")
                done = server.chat("bob", "/wait 2", state=state)
                self.assertRegex(done.stdout, r"#1\] alice: one\n.*#2\] alice: two\n$")
                server.chat("alice", "three", to="@bob")
                done = server.chat("bob", "/wait 1", state=state)
                self.assertRegex(done.stdout, r"^\[~\S+ #3\] alice: three\n$")

    def test_errors_are_said(self):
        done = run("chat_cli", "--server", "127.0.0.1:1", "--user", "alice", "--to", "@bob", "--timeout", "1", text="hi\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: timeout: 1 requests are not answered", done.stdout)
        self.assertEqual(run("chat_cli", "--server", "nonsense", "--user", "alice").returncode, 2)
        self.assertEqual(run("chat_cli").returncode, 2)
        with Server("--memory") as server:
            done = server.chat("alice", "/nonsense", "to nobody", "/edit x", "/wait 1 1")
            self.assertEqual(done.returncode, 1)
            self.assertIn("error: no command /nonsense", done.stdout)
            self.assertIn("error: no target", done.stdout)
            self.assertIn("error: /edit SEQ TEXT", done.stdout)
            self.assertIn("error: timeout: /wait", done.stdout)

    def test_control_characters_stay_on_their_line(self):
        with Server("--memory") as server:
            server.chat("alice", "a\x1b[2J\u0085b", to="@bob")
            done = server.chat("bob", "/history", to="@alice")
            self.assertIn("alice: a\\x1b[2J\\x85b\n", done.stdout)


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
