#include "report.h"

#include <cmath>
#include <cstdio>

Figures no_figures(const Options& options) {
  return {{"scenario", options.scenario},
          {"durability", options.durability},
          {"messages_per_second", nullptr},
          {"deliveries_per_second", nullptr},
          {"latency_ms", nullptr},
          {"server_cpu_us_per_message", nullptr},
          {"server_cpu_us_per_delivery", nullptr},
          {"server_rss_bytes", nullptr},
          {"bytes_per_idle_session", nullptr},
          {"errors", 0}};
}

void set_latency(Figures& figures, const Latency& latency) {
  if (latency.count() == 0) return;
  figures["latency_ms"] = {
      {"p50", latency.quantile_ms(0.5)}, {"p99", latency.quantile_ms(0.99)}, {"p999", latency.quantile_ms(0.999)}};
}

namespace {

std::string shown(const Figures& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const double number = value.get<double>();
  char text[64];
  std::snprintf(text, sizeof text, std::fabs(number) >= 1000 ? "%.0f" : "%.3f", number);
  return text;
}

void print_rows(const Figures& figures, const std::string& before) {
  for (const auto& [name, value] : figures.items()) {
    if (value.is_object()) {
      print_rows(value, before + name + ".");
    } else if (!value.is_null()) {
      std::printf("  %-36s %16s\n", (before + name).c_str(), shown(value).c_str());
    }
  }
}

}  // namespace

void print_table(const Figures& figures) { print_rows(figures, ""); }

void show_progress(const Options& options, const std::string& line) {
  if (options.progress) std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
}
