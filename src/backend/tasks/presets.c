/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/presets.h"

#include "backend/json.h"
#include "model/preset.h"
#include "model/probe-msg.h"
#include "model/signal.h"
#include "model/task.h"

static json_t *signals_json(uint32_t signals)
{
	_cleanup_json_ json_t *list = json_array();

	for (unsigned i = 0; list && i < _SONDE_SIGNAL_MAX; i++) {
		if (signals & SONDE_SIGNAL_BIT(i) &&
		    sonde_json_append(list, json_string(sonde_signal_info(i)->name)) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

static json_t *collectors_json(uint32_t collectors)
{
	_cleanup_json_ json_t *list = json_array();

	if (!list ||
	    (collectors & SONDE_PROBE_COLLECT_TCP &&
	     sonde_json_append(list, json_string("tcp")) < 0) ||
	    (collectors & SONDE_PROBE_COLLECT_UDP &&
	     sonde_json_append(list, json_string("udp")) < 0))
		return NULL;
	return TAKE_PTR(list);
}

/* What is measured is told in full; the request has the selection, where there is one. */
static json_t *preset_json(const struct sonde_preset *p)
{
	const uint32_t all = sonde_signals_of(p->collectors);
	json_t *spec;

	spec = json_pack("{s:s, s:i, s:i, s:o, s:{s:b, s:b, s:o}}", "preset", p->name, "durationMs",
			 SONDE_PRESET_DURATION_MS, "reportIntervalMs",
			 SONDE_TASK_REPORT_INTERVAL_DEFAULT_MS, "collectors",
			 collectors_json(p->collectors), "options", "executionTime",
			 (int)p->execution_time, "withoutFlows", (int)p->without_flows, "signals",
			 signals_json(p->signals));
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", p->name, "title", p->title,
			 "question", p->question, "signals",
			 signals_json(p->signals ? p->signals : all), "spec", spec);
}

json_t *sonde_presets_json(void)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && sonde_preset_at(i); i++) {
		if (sonde_json_append(list, preset_json(sonde_preset_at(i))) < 0)
			return NULL;
	}
	return list ? json_pack("{s:O}", "presets", list) : NULL;
}
