// A chat server around the library: every option on the command line, an authenticator, signals, a clean stop.
//
// Exit codes: 0 stopped by SIGINT or SIGTERM; 1 it could not start; 2 the command line is wrong; 3 it stopped, but
// not within --stop-timeout. SIGUSR1 prints the counters.
#include <chatcore/chatcore.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

using namespace chatcore;

namespace {

struct Settings {
  TcpOptions tcp;
  std::string tls_certificate, tls_key;
  RocksdbOptions rocksdb{.path = "data"};
  bool memory = false;
  Durability durability = Durability::disk;
  unsigned threads = 1, shards = 1;
  std::optional<unsigned> storage_threads;
  Limits limits;
  std::int64_t login_ms = limits.login.count(), heartbeat_ms = limits.heartbeat.count(),
               stalled_ms = limits.stalled.count(), live_tick_ms = limits.live_tick.count(),
               typing_ms = limits.typing.count(), presence_grace_ms = limits.presence_grace.count(), stop_ms = 5'000;
  bool insecure_dev_auth = false, no_limits = false;
  std::string tokens;
  int log_level = static_cast<int>(LogLevel::warning);
};

// Every option; where it is not given, the library's default stays.
void describe(CLI::App& app, Settings& s) {
  app.set_version_flag("--version", CHATCORE_VERSION);
  std::string group;
  const auto add = [&](const char* option, auto& value, const char* help) {
    return app.add_option(option, value, help)->group(group)->capture_default_str();
  };
  const auto add_bytes = [&](const char* option, auto& value, const char* help) {
    add(option, value, help)->transform(CLI::AsSizeValue(false).description(""));  // takes 64K, 1MiB
  };

  group = "Login, one of";
  app.add_flag("--insecure-dev-auth", s.insecure_dev_auth, "A client's token is its user id, unchecked: for trying out")
      ->group(group);
  app.add_option("--tokens", s.tokens, "File with lines `TOKEN USER`: who shows this token is this user")
      ->check(CLI::ExistingFile)
      ->group(group);

  group = "Network";
  add("--listen", s.tcp.address, "Address to listen on");
  add("--port", s.tcp.port, "TCP port; 0: any free one");
  add("--backlog", s.tcp.backlog, "Connections not yet accepted");
  auto* certificate = app.add_option("--tls-certificate", s.tls_certificate,
                                     "File with the certificate chain, PEM: clients have to speak TLS")
                          ->check(CLI::ExistingFile)
                          ->group(group);
  auto* key = app.add_option("--tls-key", s.tls_key, "File with its private key, PEM, without a passphrase")
                  ->check(CLI::ExistingFile)
                  ->group(group);
  certificate->needs(key);
  key->needs(certificate);

  group = "Storage";
  auto* data = add("--data", s.rocksdb.path, "Directory of the store; created where it is missing");
  app.add_flag("--memory", s.memory, "Keep everything in memory, gone at exit")->group(group)->excludes(data);
  const std::map<std::string, Durability> durabilities{
      {"memory", Durability::memory}, {"process", Durability::process}, {"disk", Durability::disk}};
  app.add_option("--durability", s.durability,
                 "What an acknowledged message survives: memory (nothing), process (a killed process) or disk (a power "
                 "cut). Default: disk, or memory with --memory")
      ->transform(CLI::CheckedTransformer(durabilities).description(""))
      ->type_name("LEVEL")
      ->group(group);
  add_bytes("--block-cache", s.rocksdb.block_cache_bytes, "Memory for blocks read, bytes");
  add_bytes("--write-buffer", s.rocksdb.write_buffer_bytes, "Memory for rows not yet in a file, bytes");
  add("--feed-batches", s.rocksdb.feed_batches, "Batches the feed holds at least");
  app.add_flag("--restored", s.rocksdb.restored, "The data was restored from a backup: clients start anew")
      ->group(group);

  group = "Threads";
  add("--threads", s.threads, "Engine threads; 0: one thread of this program polls everything");
  add("--shards", s.shards, "Independent parts that threads run, 1 to 64");
  app.add_option("--storage-threads", s.storage_threads, "Storage threads. Default: 2, or 0 with --threads 0")
      ->group(group);

  group = "Limits";
  add_bytes("--frame-bytes", s.limits.frame_bytes, "Longest frame, bytes; a longer one closes the connection");
  add_bytes("--text-bytes", s.limits.text_bytes, "Longest text of a message, bytes");
  add_bytes("--content-bytes", s.limits.content_bytes, "Most data of a message, bytes");
  add_bytes("--metadata-bytes", s.limits.metadata_bytes, "Most metadata of a message, custom fields of a group, bytes");
  add_bytes("--outbox-bytes", s.limits.outbox_bytes,
            "Most that waits for one connection, bytes; beyond it events become notices");
  add("--session-requests", s.limits.session_requests, "Requests under way of one connection");
  add("--engine-requests", s.limits.engine_requests, "Requests under way of all together");
  add("--group-members", s.limits.group_members, "Members of a group");
  add("--fan-out-on-read", s.limits.fan_out_on_read,
      "Above so many members a conversation is fanned out on read: nothing is kept or written for each");
  add("--fan-out-on-write", s.limits.fan_out_on_write, "Below so many again on write; less than the other");
  add("--page-items", s.limits.page_items, "Items of a page");
  add("--login-timeout", s.login_ms, "Time a connection has for its login, ms");
  add("--heartbeat", s.heartbeat_ms, "Longest silence of a client, ms; closed after twice that");
  add("--stalled-timeout", s.stalled_ms, "Time in which a connection may take nothing of what waits for it, ms");
  add("--messages-per-second", s.limits.messages_per_second,
      "What one user may send, over all his devices; 0: no limit");
  add("--message-burst", s.limits.message_burst, "Messages at once before that counts");
  add("--requests-per-second", s.limits.requests_per_second, "What one connection may ask for; 0: no limit");
  add("--request-burst", s.limits.request_burst, "Requests at once before that counts");
  add("--conversation-per-second", s.limits.conversation_per_second,
      "What may be said in one conversation, by all together; 0: no limit");
  add("--conversation-burst", s.limits.conversation_burst, "At once before that counts");
  app.add_flag("--no-limits", s.no_limits, "No limit on messages and requests a second: for measurements")
      ->group(group);
  app.add_flag("--clients-choose-ids", s.limits.clients_choose_ids, "Clients may name the groups they create")
      ->group(group);

  group = "Live state";
  add("--live-tick", s.live_tick_ms, "Whoever is told of it is told so often at most, ms");
  add("--typing", s.typing_ms, "For so long it is shown that someone types, ms");
  add("--typing-members", s.limits.typing_members, "In larger conversations it is not shown");
  add("--presence-grace", s.presence_grace_ms, "Who comes back within that was never away, ms");
  add("--presence-members", s.limits.presence_members, "Of a larger conversation only counts of who is here are shown");
  add("--watched-users", s.limits.watched_users, "Users whose presence one connection may watch");
  add("--receipt-members", s.limits.receipt_members, "In larger conversations receipts are not pushed");

  group = "Running";
  add("--stop-timeout", s.stop_ms, "Time a clean stop may take, ms");
  const std::map<std::string, int> levels{{"debug", 0}, {"info", 1}, {"warning", 2}, {"error", 3}, {"off", 4}};
  app.add_option("--log-level", s.log_level,
                 "Least level logged to stderr: debug, info, warning, error, off. Default: warning")
      ->transform(CLI::CheckedTransformer(levels).description(""))
      ->type_name("LEVEL")
      ->group(group);
}

// A login of the host's own: here a table in memory; a lookup elsewhere would complete later.
std::unique_ptr<Authenticator> tokens_of(const std::string& path) {
  std::map<std::string, UserId> users;
  std::ifstream file(path);
  for (std::string token, user; file >> token >> user;) {
    if (auto id = UserId::make(user)) users[token] = *id;
  }
  return make_authenticator([users = std::move(users)](Credentials credentials, Done<Identity> done) {
    const auto found = users.find(credentials.token);
    if (found == users.end()) return done(Error{ErrorCode::unauthenticated, "no such token"});
    done(Identity{.user = found->second});
  });
}

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(text).str();
}

void print(const Stats& stats) {
  std::printf("messages %llu, duplicates %llu, deliveries %llu, commits %llu, failed changes %llu, refused %llu\n",
              static_cast<unsigned long long>(stats.messages), static_cast<unsigned long long>(stats.duplicates),
              static_cast<unsigned long long>(stats.deliveries), static_cast<unsigned long long>(stats.commits),
              static_cast<unsigned long long>(stats.failed_changes), static_cast<unsigned long long>(stats.refused));
  std::printf(
      "sessions %llu, connections %llu, conversations %llu, outbox bytes %llu, closed slow %llu, malformed %llu\n",
      static_cast<unsigned long long>(stats.sessions), static_cast<unsigned long long>(stats.connections),
      static_cast<unsigned long long>(stats.conversations), static_cast<unsigned long long>(stats.outbox_bytes),
      static_cast<unsigned long long>(stats.closed_slow), static_cast<unsigned long long>(stats.closed_malformed));
}

int fail(const char* what, const Error& error) {
  std::fprintf(stderr, "chat_server: %s: %s (%s)\n", what, error.message.c_str(),
               std::string(name(error.code)).c_str());
  return 1;
}

void print_how_to_chat(const std::string& self, const Endpoint& at, bool tls) {
  std::string cli =
      self.substr(0, self.rfind('/') + 1) + "chat_cli --server " + at.address + ":" + std::to_string(at.port);
  if (tls) cli += " --tls-ca AUTHORITY.pem";
  std::printf("\nTo chat, open two more terminals:\n  %s --user alice --to @bob\n  %s --user bob --to @alice\n",
              cli.c_str(), cli.c_str());
  std::printf("and type. /help shows the commands. Ctrl-C here stops the server.\n\n");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"A chat server on the chatcore library"};
  describe(app, settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (settings.insecure_dev_auth == !settings.tokens.empty()) {
    std::fprintf(stderr,
                 "chat_server: say how users log in: --tokens FILE, or --insecure-dev-auth, which believes everyone "
                 "and is for trying out only\n");
    return 2;
  }
  if (settings.memory && app.count("--durability") == 0) settings.durability = Durability::memory;
  if (settings.no_limits) {
    settings.limits.messages_per_second = settings.limits.requests_per_second = 0;
    settings.limits.conversation_per_second = 0;
  }
  settings.limits.login = std::chrono::milliseconds(settings.login_ms);
  settings.limits.heartbeat = std::chrono::milliseconds(settings.heartbeat_ms);
  settings.limits.stalled = std::chrono::milliseconds(settings.stalled_ms);
  settings.limits.live_tick = std::chrono::milliseconds(settings.live_tick_ms);
  settings.limits.typing = std::chrono::milliseconds(settings.typing_ms);
  settings.limits.presence_grace = std::chrono::milliseconds(settings.presence_grace_ms);

  if (!settings.tls_certificate.empty()) {
    auto certificates = Certificates::make(text_of(settings.tls_certificate), text_of(settings.tls_key));
    if (!certificates) return fail("cannot use the certificate", certificates.error());
    settings.tcp.tls = std::move(*certificates);
  }

  // Blocked before the engine makes threads, so that only sigwait() below gets them.
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);

  Runtime runtime;
  runtime.log = [least = settings.log_level](LogLevel level, std::string_view line) {
    if (static_cast<int>(level) < least) return;
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  };
  auto engine = Engine::open(
      {.storage = settings.memory ? make_memory_storage() : make_rocksdb_storage(settings.rocksdb),
       .authenticator = settings.insecure_dev_auth ? make_insecure_dev_authenticator() : tokens_of(settings.tokens),
       .durability = settings.durability,
       .threads = settings.threads,
       .shards = settings.shards,
       .storage_threads = settings.storage_threads,
       .limits = settings.limits,
       .runtime = std::move(runtime)});
  if (!engine) return fail("cannot open", engine.error());
  auto at = engine->listen(make_tcp_transport(settings.tcp));
  if (!at) return fail("cannot listen", at.error());

  std::printf("chatcore %s, data in %s\n", CHATCORE_VERSION,
              settings.memory ? "memory" : settings.rocksdb.path.c_str());
  std::printf("listening on %s:%u\n", at->address.c_str(), static_cast<unsigned>(at->port));
  if (settings.insecure_dev_auth) print_how_to_chat(argv[0], *at, settings.tcp.tls != nullptr);

  std::thread runner;
  if (settings.threads == 0) runner = std::thread([&] { engine->run(); });
  int number = 0;
  while (sigwait(&signals, &number) == 0 && number == SIGUSR1) print(engine->stats());

  const Stats last = engine->stats();
  const Status stopped = engine->stop(std::chrono::milliseconds(settings.stop_ms));
  if (runner.joinable()) runner.join();
  print(last);
  if (!stopped) return fail("stopped late", stopped.error()), 3;
  std::puts("stopped");
  return 0;
}
