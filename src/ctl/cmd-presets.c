/* SPDX-License-Identifier: Apache-2.0 */
/* sonde task presets: what a task may name, out of the program's own table. */
#include <errno.h>

#include "ctl/output.h"
#include "ctl/view.h"
#include "model/preset.h"
#include "model/probe-msg.h"
#include "model/signal.h"

static const struct sonde_column columns[] = {
	{"NAME", false, false},		 {"QUESTION", false, true},
	{"TITLE", false, false, true},	 {"COLLECTORS", false, false, true},
	{"SIGNALS", false, false, true}, {NULL}};

/* In words; no selection is all that there is. */
static const char *signals_of(const struct sonde_preset *p, char words[SONDE_SIGNALS_NAMES_MAX])
{
	return sonde_signals_names(p->signals ? p->signals : sonde_signals_of(p->collectors), words,
				   SONDE_SIGNALS_NAMES_MAX);
}

static const char *collectors_of(const struct sonde_preset *p)
{
	const uint32_t both = SONDE_PROBE_COLLECT_TCP | SONDE_PROBE_COLLECT_UDP;

	if ((p->collectors & both) == both)
		return "tcp, udp";
	return p->collectors & SONDE_PROBE_COLLECT_UDP ? "udp" : "tcp";
}

static json_t *collectors_json(const struct sonde_preset *p)
{
	json_t *list = json_array();

	if (p->collectors & SONDE_PROBE_COLLECT_TCP)
		(void)json_array_append_new(list, json_string("tcp"));
	if (p->collectors & SONDE_PROBE_COLLECT_UDP)
		(void)json_array_append_new(list, json_string("udp"));
	return list;
}

static json_t *signals_json(const struct sonde_preset *p)
{
	uint32_t mask = p->signals ? p->signals : sonde_signals_of(p->collectors);
	json_t *list = json_array();

	for (unsigned int i = 0; i < _SONDE_SIGNAL_MAX; i++) {
		if (mask & SONDE_SIGNAL_BIT(i))
			(void)json_array_append_new(list, json_string(sonde_signal_info(i)->name));
	}
	return list;
}

static int print_json(struct sonde_cli *cli)
{
	json_t *list = json_array(), *all = json_object();
	int status = 0;

	for (size_t i = 0; sonde_preset_at(i); i++) {
		const struct sonde_preset *p = sonde_preset_at(i);

		if (json_array_append_new(list,
					  json_pack("{s:s, s:s, s:s, s:o, s:o, s:b, s:b}", "name",
						    p->name, "title", p->title, "question",
						    p->question, "collectors", collectors_json(p),
						    "signals", signals_json(p), "execution_time",
						    (int)p->execution_time, "without_flows",
						    (int)p->without_flows)) < 0)
			status = -1;
	}
	if (json_object_set_new(all, "presets", list) < 0)
		status = -1;
	status = status < 0 ? sonde_cli_broken(cli, -ENOMEM) : sonde_cli_print_value(cli, all);
	json_decref(all);
	return status;
}

int sonde_cli_task_presets(struct sonde_cli *cli)
{
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return print_json(cli);
	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; sonde_preset_at(i); i++) {
		const struct sonde_preset *p = sonde_preset_at(i);
		char signals[SONDE_SIGNALS_NAMES_MAX];

		sonde_table_add(t, p->name);
		sonde_table_add(t, p->question);
		sonde_table_add(t, p->title);
		sonde_table_add(t, collectors_of(p));
		sonde_table_add(t, signals_of(p, signals));
	}
	return sonde_view_table(cli, t);
}
