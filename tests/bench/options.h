#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Options {
  std::string scenario{};
  std::string durability = "disk";
  double seconds = 5, warm_up = 1;
  unsigned pairs = 100, window = 16, bytes = 128;
  double rate = 0;
  std::string server{};
  std::vector<std::string> server_arguments{};
  std::string data{};
  bool pin = true, progress = false;
};
