#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "latency.h"
#include "options.h"

// What a run has measured: names in the order they are shown. Those of the issue are always there, null where a
// scenario has none.
using Figures = nlohmann::ordered_json;

Figures no_figures(const Options&);
void set_latency(Figures&, const Latency&);
void print_table(const Figures&);

// A line on stderr that says how far a run is.
void show_progress(const Options&, const std::string& line);
