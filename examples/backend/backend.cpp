// A service that has users, a login, groups and a database of its own, and now a chat: one SQLite database holds it
// all, the service's HTTP API and the chat's TCP port are doors to the same conversations.
//
// Exit codes: 0 stopped by SIGINT or SIGTERM; 1 it could not start, or stopped late; 2 the command line is wrong.
#include <chatcore/chatcore.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <map>
#include <thread>

#include "service.h"
#include "sqlite_storage.h"

using namespace chatcore;

namespace {

struct Settings {
  std::string address = "127.0.0.1";
  int http_port = 8080;
  std::uint16_t chat_port = 7400;
  backend::SqliteOptions database{.path = "backend.db"};
  Durability durability = Durability::disk;
};

int fail(const char* what, const std::string& why) {
  std::fprintf(stderr, "backend: %s: %s\n", what, why.c_str());
  return 1;
}

int serve(const Settings& settings, const sigset_t& signals) {
  backend::Accounts accounts(settings.database.path);
  backend::Groups groups(settings.database.path);

  auto engine = Engine::open({.storage = backend::make_sqlite_storage(settings.database),
                              .authenticator = make_authenticator([&](Credentials shown, Done<Identity> done) {
                                accounts.verify_later(std::move(shown.token), std::move(done));
                              }),
                              .membership = groups.membership(),
                              .durability = settings.durability,
                              .threads = 1});
  if (!engine) return fail("cannot open the chat", engine.error().message);

  backend::Service service(*engine, accounts, groups);
  const int http_port = settings.http_port == 0 ? service.http().bind_to_any_port(settings.address)
                        : service.http().bind_to_port(settings.address, settings.http_port) ? settings.http_port
                                                                                            : -1;
  if (http_port < 0) return fail("cannot listen", "the HTTP port is in use: name another one");
  const auto chat = engine->listen(make_tcp_transport({.address = settings.address, .port = settings.chat_port}));
  if (!chat) return fail("cannot listen", chat.error().message);
  std::printf("http on %s:%d\n", settings.address.c_str(), http_port);
  std::printf("listening on %s:%u\n", chat->address.c_str(), static_cast<unsigned>(chat->port));

  std::atomic<bool> over = false;
  std::thread http([&] {
    service.http().listen_after_bind();
    over = true;
  });
  // What is stopped before it runs would run on.
  while (!service.http().is_running() && !over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  int number = 0;
  sigwait(&signals, &number);
  service.http().stop();  // its handlers wait for the engine: first them, then the engine
  http.join();
  const Status stopped = engine->stop(std::chrono::seconds(5));
  return stopped ? 0 : fail("stopped late", stopped.error().message);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"A service with users, groups, an HTTP API, and chatcore for its chat"};
  const auto add = [&](const char* option, auto& value, const char* help) {
    return app.add_option(option, value, help)->capture_default_str();
  };
  add("--listen", settings.address, "Address to listen on");
  add("--http-port", settings.http_port, "Port of the HTTP API; 0: any free one");
  add("--chat-port", settings.chat_port, "Port of the chat; 0: any free one");
  add("--database", settings.database.path, "SQLite database; created where it is missing");
  app.add_flag("--restored", settings.database.restored, "The database was restored from a backup");
  app.add_option("--durability", settings.durability, "What an acknowledged message survives: process, disk (default)")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Durability>{{"process", Durability::process}, {"disk", Durability::disk}}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  // Blocked before there are threads, so that only sigwait() gets them.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGINT, SIGTERM}) sigaddset(&signals, each);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    return serve(settings, signals);
  } catch (const std::exception& error) {
    return fail("cannot start", error.what());
  }
}
