#include "report.h"

#include <algorithm>
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

double median(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  const std::size_t half = numbers.size() / 2;
  return numbers.size() % 2 ? numbers[half] : (numbers[half - 1] + numbers[half]) / 2;
}

namespace {

// `runs` at one name of each; none where one has no such thing.
std::vector<Figures> column(const std::vector<Figures>& runs, const std::string& name) {
  std::vector<Figures> values;
  for (const Figures& run : runs) {
    if (!run.contains(name) || run[name].is_null()) return {};
    values.push_back(run[name]);
  }
  return values;
}

}  // namespace

Figures medians(const std::vector<Figures>& runs) {
  Figures result = runs[0];
  for (auto& [name, value] : result.items()) {
    const std::vector<Figures> values = column(runs, name);
    if (values.empty()) continue;
    if (value.is_object()) value = medians(values);
    if (value.is_boolean()) value = std::count(values.begin(), values.end(), false) == 0;
    if (value.is_number_float()) value = median({values.begin(), values.end()});
    if (value.is_number_integer()) value = std::llround(median({values.begin(), values.end()}));
  }
  return result;
}

Figures ratios(const std::vector<Figures>& first, const std::vector<Figures>& second) {
  Figures result = Figures::object();
  for (const auto& [name, value] : first[0].items()) {
    const std::vector<Figures> ours = column(first, name), theirs = column(second, name);
    if (ours.empty() || theirs.empty()) continue;
    if (value.is_object()) result[name] = ratios(ours, theirs);
    if (!value.is_number()) continue;
    std::vector<double> each;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (theirs[i].get<double>() != 0) each.push_back(ours[i].get<double>() / theirs[i].get<double>());
    }
    if (!each.empty()) result[name] = median(each);
  }
  return result;
}

void print_table(const Figures& figures) { print_rows(figures, ""); }

void show_progress(const Options& options, const std::string& line) {
  if (options.progress) std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
}
