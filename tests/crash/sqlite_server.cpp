// chat_server's options, as far as chatcore-crash-test gives them, on the storage of examples/backend.
#include <chatcore/chatcore.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>

#include "backend/sqlite_storage.h"

using namespace chatcore;

int main(int argc, char** argv) {
  std::string data;
  TcpOptions tcp;
  Durability durability = Durability::disk;
  bool insecure = false, no_limits = false;
  CLI::App app{"A chat server on SQLite, to be killed"};
  app.add_flag("--insecure-dev-auth", insecure, "A client's token is its user id")->required();
  app.add_option("--listen", tcp.address, "Address to listen on");
  app.add_option("--port", tcp.port, "TCP port; 0: any free one");
  app.add_option("--data", data, "Directory of the database")->required();
  app.add_option("--durability", durability, "process or disk")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Durability>{{"process", Durability::process}, {"disk", Durability::disk}}));
  app.add_flag("--no-limits", no_limits, "No limit on messages and requests a second");
  CLI11_PARSE(app, argc, argv);

  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGINT, SIGTERM}) sigaddset(&signals, each);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::filesystem::create_directories(data);
  Limits limits;
  if (no_limits) limits.messages_per_second = limits.requests_per_second = 0;
  auto engine = Engine::open({.storage = backend::make_sqlite_storage({.path = data + "/chat.db"}),
                              .authenticator = make_insecure_dev_authenticator(),
                              .durability = durability,
                              .threads = 1,
                              .limits = limits});
  if (!engine) return std::fprintf(stderr, "cannot open: %s\n", engine.error().message.c_str()), 1;
  const auto at = engine->listen(make_tcp_transport(tcp));
  if (!at) return std::fprintf(stderr, "cannot listen: %s\n", at.error().message.c_str()), 1;
  std::printf("listening on %s:%u\n", at->address.c_str(), static_cast<unsigned>(at->port));
  std::fflush(stdout);
  int number = 0;
  sigwait(&signals, &number);
  return engine->stop(std::chrono::seconds(5)) ? 0 : 3;
}
