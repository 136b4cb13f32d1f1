#!/usr/bin/env python3
"""Compiles the C++ snippets of README.md and of some pages of docs, and holds the first one against examples/hello."""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What stands around a snippet that is no whole program, by a line of it.
AROUND = {
    "accounts.verify(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
struct { void verify(std::string, Done<Identity>) {} } accounts;
void host(UserId user, ConversationId group, std::string body, std::string request_id) {
""",
        "}\n",
    ),
    "accounts.find_later(": (
        """#include <chatcore/chatcore.h>
struct Account { chatcore::UserId id; chatcore::TimePoint until; };
struct { void find_later(std::string, chatcore::Function<void(const Account*)>) {} } accounts;
void host(chatcore::EngineOptions& options) {
""",
        "}\n",
    ),
    "JwtKeys::make(": (
        """#include <chatcore/chatcore.h>
void log_line(std::string_view);
chatcore::Status host(chatcore::EngineOptions& options, std::string public_pem) {
""",
        "return {};\n}\n",
    ),
    "JwtKeys& keys": ("#include <chatcore/chatcore.h>\n", ""),
    "int run(": (
        """#include <chatcore/testing.h>
#include <cstdio>
""",
        "",
    ),
    "authenticator_conformance(": (
        """#include <chatcore/testing.h>
int run(std::vector<chatcore::Check>);
std::unique_ptr<chatcore::Authenticator> make_my_authenticator();
std::string fresh_token_of(const char*), expired_token_of(const char*);
void my_loop_runs_once();
""",
        "",
    ),
    "transport_conformance(": (
        """#include <chatcore/testing.h>
int run(std::vector<chatcore::Check>);
std::unique_ptr<chatcore::Transport> make_my_transport();
std::unique_ptr<chatcore::Dialer> make_my_dialer(const chatcore::Endpoint&);
""",
        "",
    ),
    "make_faulty_storage(": (
        """#include <chatcore/testing.h>
void test() {
""",
        "}\n",
    ),
    "Transaction transaction": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
struct Database {};
struct Transaction {
  explicit Transaction(Database&);
  std::uint64_t next_batch();
  Seq head(std::string_view), oldest(std::string_view);
  void put_event(std::string_view, const StoredEvent&), put_or_delete(std::string_view, const Row&);
  void trim(std::string_view, Seq), set_head(std::string_view, Seq, std::uint64_t);
  bool commit();
};
struct Mine : Storage {
  Database database_;
""",
        "};\n",
    ),
    "search.keep(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
struct {
  void try_again_later(const Error&, std::uint64_t) {}
  void add(const Event&) {}
  void keep(std::uint64_t) {}
} search;
""",
        "",
    ),
    "Certificates::make(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
std::string read(const char* path);
int fail(const Error&);
int host(Engine* engine) {
""",
        "return replaced ? 0 : 1;\n}\n",
    ),
    "Client::open(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
void host() {
""",
        "}\n",
    ),
    "storage_conformance(": (
        """#include <chatcore/testing.h>
#include <cstdio>
std::unique_ptr<chatcore::Storage> make_empty_storage(), open_the_same_again();
int main() {
""",
        "return failures;\n}\n",
    ),
    "membership_conformance(": (
        """#include <chatcore/testing.h>
using namespace chatcore;
int run(std::vector<Check>);
std::unique_ptr<Membership> make_my_membership();
void take_out_of_red(const UserId&);
""",
        "",
    ),
    "make_faulty_membership(": (
        """#include <chatcore/testing.h>
using namespace chatcore;
std::unique_ptr<Membership> make_my_membership();
void test() {
""",
        "}\n",
    ),
    "make_membership(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
struct {
  std::vector<Member> roster(const ConversationId&);
  std::vector<ConversationId> teams_of(const UserId&);
  std::optional<Role> role(const ConversationId&, const UserId&);
} world;
void host() {
""",
        "}\n",
    ),
    "membership_changed(": ("#include <chatcore/chatcore.h>\nusing namespace chatcore;\n", ""),
    "pubsub_conformance(": (
        """#include <chatcore/testing.h>
using namespace chatcore;
int run(std::vector<Check>);
struct Broker { void stop_answering(), answer_again(); };
std::shared_ptr<Broker> start_a_broker();
std::unique_ptr<PubSub> make_my_pubsub(std::shared_ptr<Broker>);
""",
        "",
    ),
    "make_faulty_pubsub(": (
        """#include <chatcore/testing.h>
using namespace chatcore;
struct Broker;
std::shared_ptr<Broker> start_a_broker();
std::unique_ptr<PubSub> make_my_pubsub(std::shared_ptr<Broker>);
void test() {
""",
        "}\n",
    ),
    "make_inprocess_pubsub(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
struct { std::unique_ptr<Storage> handle(); } shared;
void host() {
""",
        "}\n",
    ),
    "make_policy(": (
        """#include <chatcore/chatcore.h>
using namespace chatcore;
void host() {
""",
        "}\n",
    ),
    "policy_conformance(": (
        """#include <chatcore/testing.h>
#include <cstdio>
using namespace chatcore;
std::unique_ptr<Policy> make_my_policy();
void test() {
""",
        "}\n",
    ),
}


def snippets(page):
    return re.findall(r"^```cpp\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def whole(snippet):
    if "int main()" in snippet:
        return snippet
    for mark, (before, after) in AROUND.items():
        if mark in snippet:
            return before + snippet + after
    sys.exit(f"no surroundings for this snippet:\n{snippet}")


def compiles(page, snippet):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(whole(snippet))
        source.flush()
        command = ["c++", "-std=c++20", "-fsyntax-only", f"-I{ROOT}/include", source.name]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        print(f"{page}: this does not compile:\n{snippet}\n{result.stderr[:2000]}")
    return result.returncode == 0


def code_lines(text):
    return sorted(line for line in text.splitlines() if line.strip())


def main():
    readme = snippets("README.md")
    good = code_lines(readme[0]) == code_lines((ROOT / "examples/hello/hello.cpp").read_text())
    if not good:
        print("README.md: the first snippet is not examples/hello/hello.cpp")
    pages = ("storage", "transport", "auth", "testing", "policy", "membership", "pubsub", "embedding")
    for page in ("README.md", *(f"docs/{page}.md" for page in pages)):
        for snippet in snippets(page):
            good = compiles(page, snippet) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
