#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Options {
  std::string scenario{};
  std::string durability = "disk";
  double seconds = 5, warm_up = 1;
  unsigned clients = 0, window = 16, bytes = 0, missed = 100;  // clients, bytes 0: the scenario's own
  unsigned stalled = 10, mebibytes = 100;
  unsigned rounds = 0;  // 0: 3 with a comparison, 1 without
  double rate = 0, reconnects = 1'000;
  std::string server{};
  std::vector<std::string> server_arguments{}, bare_arguments{};
  std::string data{};
  bool bare = false, pin = true, progress = false, notify_only = false, reconnect = false;
};
