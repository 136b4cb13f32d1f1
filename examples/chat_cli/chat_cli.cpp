// A chat client for a terminal or a pipe: reads lines, prints lines.
//
// Exit codes: 0 everything was answered; 1 something failed or did not come in time; 2 the command line is wrong.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "chat.h"

namespace {

const char* const output_help =
    "What is printed, one line each (control characters in texts as \\n, \\t, \\xNN):\n"
    "  [CONVERSATION #SEQ] USER: TEXT            a message; \"(edited)\" behind it, or \"(deleted)\"\n"
    "  [CONVERSATION #SEQ] USER: <TYPE, N bytes> TEXT\n"
    "  [CONVERSATION #SEQ] * USER edited #N: TEXT\n"
    "  [CONVERSATION #SEQ] * USER deleted #N\n"
    "  [CONVERSATION #SEQ] * USER joined | left | added U, U | removed U | made U admin | changed the settings: TITLE\n"
    "  [CONVERSATION #SEQ] * USER marked CONVERSATION read #N muted pinned archived unread; ...   on another device\n"
    "  [CONVERSATION ~] USER: TEXT               from /ephemeral\n"
    "  [CONVERSATION ~] * typing: USER, USER | nobody\n"
    "  [CONVERSATION ~] * USER received #N, read #N; ...\n"
    "  [CONVERSATION ~] * here: N                of a conversation that is too large for /who\n"
    "  * USER online | away | offline, last seen TIME; ...   and * USER is NAME, after /who\n"
    "  [CONVERSATION #SEQ] ! not shown; /sync    there is more up to SEQ\n"
    "  ! reset: ... and ! closed: CODE: MESSAGE\n"
    "  sent [CONVERSATION #SEQ] DURABILITY       your message is stored; \"duplicate\" behind it where it was already\n"
    "  ok ...                                    a command is done\n"
    "  history ..., sync ..., list ..., member ..., here ..., receipt ..., session ..., profile ... lines of commands\n"
    "  error: CODE: MESSAGE\n";

bool parse(const std::string& text, chatcore::Endpoint& to) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  to.address = text.substr(0, colon);
  const char* const end = text.data() + text.size();
  return std::from_chars(text.data() + colon + 1, end, to.port).ptr == end && to.port != 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ChatOptions options;
  std::string server = "127.0.0.1:7400";
  CLI::App app{"Chats over TCP with a chatcore server. Reads lines from stdin, prints what happens to stdout."};
  app.set_version_flag("--version", CHATCORE_VERSION);
  app.footer("\n" + Chat::commands_help() + "\n" + output_help);
  app.add_option("--server", server, "Where the server listens, ADDRESS:PORT")->capture_default_str();
  std::string tls_ca, tls_name;
  bool tls = false;
  app.add_flag("--tls", tls, "Speak TLS, and trust the system's certificate authorities");
  app.add_option("--tls-ca", tls_ca, "Speak TLS, and trust the certificates in this file, PEM, instead")
      ->check(CLI::ExistingFile);
  app.add_option("--tls-name", tls_name, "The name the server's certificate is for. Default: ADDRESS");
  app.add_option("--user", options.user, "Who you are: the token where none is given (for --insecure-dev-auth)");
  app.add_option("--token", options.token, "What is shown at login");
  app.add_option("--device", options.device, "Name of this device");
  app.add_option("--state", options.state_file, "File that keeps where you were, so that the next start goes on there");
  app.add_option("--to", options.to, "The first target: @USER or a conversation");
  app.add_option("--wait-for", options.wait_for, "At the end of stdin, wait until so many pushes have come");
  std::int64_t timeout = options.timeout.count();
  app.add_option("--timeout", timeout, "Longest wait at the end of stdin, s")->capture_default_str();
  try {
    app.parse(argc, argv);
    if (!parse(server, options.server)) throw CLI::ValidationError("--server", "is ADDRESS:PORT");
    if (options.token.empty()) options.token = options.user;
    if (options.token.empty()) throw CLI::ValidationError("--user", "or --token: say who you are");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (tls || !tls_ca.empty() || !tls_name.empty()) {
    options.tls.emplace();
    options.tls->server_name = tls_name;
    std::ifstream file(tls_ca, std::ios::binary);
    options.tls->certificate_authority.assign(std::istreambuf_iterator<char>(file), {});
  }
  options.timeout = std::chrono::seconds(timeout);
  return Chat(std::move(options)).run();
}
