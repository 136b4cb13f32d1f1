#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "latency.h"
#include "options.h"

// What a run has measured: names in the order they are shown. Those of the issue are always there, null where a
// scenario has none.
using Figures = nlohmann::ordered_json;

Figures no_figures(const Options&);
void set_latency(Figures&, const Latency&);
void print_table(const Figures&);

double median(std::vector<double>);  // of one at least

// Of each number its median over the runs; of what holds or not, whether it held in all.
Figures medians(const std::vector<Figures>&);
// Of each number that both have, the median over the runs of first / second: a pair of runs was under the same sky.
Figures ratios(const std::vector<Figures>& first, const std::vector<Figures>& second);

// A line on stderr that says how far a run is.
void show_progress(const Options&, const std::string& line);
