/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: what measures each metric on a machine, what it costs, and why nothing better does. */
#include <string.h>

#include "base/buf.h"
#include "ctl/members.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define WHY_MAX 1024

static bool is_state(const json_t *row, const char *state)
{
	return strcmp(sonde_text_of(row, "state"), state) == 0;
}

static size_t group_end(const json_t *probes, size_t first)
{
	const char *metrics = sonde_text_of(json_array_get(probes, first), "metrics");
	size_t end = first + 1;

	while (end < json_array_size(probes) &&
	       strcmp(sonde_text_of(json_array_get(probes, end), "metrics"), metrics) == 0)
		end++;
	return end;
}

static void cell_ns(struct sonde_table *t, const json_t *row, const char *key)
{
	if (json_integer_value(json_object_get(row, key)) > 0)
		sonde_cell_ns(t, row, key);
	else
		sonde_table_add(t, NULL);
}

/* "sockops: needs CAP_NET_ADMIN; …", and what is lost by it. Cut where it is too long. */
static void cell_why(struct sonde_table *t, const json_t *probes, size_t first, size_t end,
		     const json_t *chosen)
{
	_cleanup_buf_ struct sonde_buf why = SONDE_BUF_INIT(WHY_MAX);
	const char *less = sonde_text_of(chosen, "less"), *reason = sonde_text_of(chosen, "reason");
	int r = 0;

	if (*reason)
		r = sonde_buf_printf(&why, "%s", reason);
	for (size_t i = first; i < end && r == 0; i++) {
		const json_t *row = json_array_get(probes, i);

		if (row == chosen || is_state(row, "spare") || !*sonde_text_of(row, "reason"))
			continue;
		r = sonde_buf_printf(&why, "%s%s: %s", why.len ? "; " : "",
				     sonde_text_of(row, "probe"), sonde_text_of(row, "reason"));
	}
	if (*less && r == 0)
		r = sonde_buf_printf(&why, "; without %s", less);
	/* what did not fit is left out: wide shows it */
	sonde_table_add(t, why.len || r < 0 ? sonde_buf_str(&why) : NULL);
}

static enum sonde_style style_of(const json_t *probe)
{
	if (is_state(probe, "chosen"))
		return SONDE_STYLE_GREEN;
	return is_state(probe, "absent") ? SONDE_STYLE_RED : SONDE_STYLE_DIM;
}

static void metric_row(struct sonde_table *t, const json_t *probes, size_t first, size_t end)
{
	const json_t *shown = json_array_get(probes, first), *chosen = NULL;

	for (size_t i = first; i < end && !chosen; i++) {
		if (is_state(json_array_get(probes, i), "chosen"))
			chosen = shown = json_array_get(probes, i);
	}
	sonde_cell_text(t, shown, "metrics");
	if (chosen)
		sonde_cell_text(t, chosen, "probe");
	else
		sonde_table_add_styled(t, style_of(shown), sonde_text_of(shown, "state"));
	if (chosen) {
		cell_ns(t, chosen, "target_ns");
		cell_ns(t, chosen, "other_ns");
		sonde_cell_text(t, chosen, "per");
	} else {
		for (int i = 0; i < 3; i++)
			sonde_table_add(t, NULL);
	}
	cell_why(t, probes, first, end, chosen);
}

/* By what is attached for other metrics: at no cost of its own. */
static bool is_done_besides(const json_t *probes, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		if (!is_state(json_array_get(probes, i), "spare"))
			return false;
	}
	return true;
}

static void probe_row(struct sonde_table *t, const json_t *row)
{
	sonde_cell_text(t, row, "metrics");
	sonde_cell_text(t, row, "probe");
	sonde_table_add_styled(t, style_of(row), sonde_text_of(row, "state"));
	sonde_table_add(t, json_is_true(json_object_get(row, "core")) ? "yes" : "no");
	cell_ns(t, row, "target_ns");
	cell_ns(t, row, "other_ns");
	sonde_cell_text(t, row, "per");
	sonde_cell_text(t, row, "capability");
	sonde_cell_text(t, row, "less");
	sonde_cell_text(t, row, "reason");
}

static int view_probes(struct sonde_cli *cli, const json_t *probes)
{
	static const struct sonde_column columns[] = {{"METRIC", false, true},
						      {"PROBE", false, true},
						      {"COST", true, false},
						      {"OTHERS", true, false},
						      {"PER", false, false},
						      {"WHY", false, true},
						      {NULL}};
	static const struct sonde_column wide_columns[] = {{"METRIC", false, false},
							   {"PROBE", false, false},
							   {"STATE", false, false},
							   {"CORE", false, false},
							   {"COST", true, false},
							   {"OTHERS", true, false},
							   {"PER", false, false},
							   {"MISSING", false, false},
							   {"WITHOUT", false, false},
							   {"REASON", false, false},
							   {NULL}};
	bool wide = sonde_cli_output(cli) == SONDE_CLI_WIDE;
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r;

	r = sonde_table_new(wide ? wide_columns : columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0, end; i < json_array_size(probes); i = end) {
		end = group_end(probes, i);
		if (!wide && !is_done_besides(probes, i, end))
			metric_row(t, probes, i, end);
		for (size_t k = i; wide && k < end; k++)
			probe_row(t, json_array_get(probes, k));
	}
	return sonde_view_table(cli, t);
}

/* As sonde-agent --doctor has it. */
static void view_bpf(struct sonde_cli *cli, const json_t *plan)
{
	if (*sonde_text_of(plan, "missing")) {
		(void)fprintf(cli->out, "%-10s refused, missing: ", "bpf");
		sonde_view_text(cli, sonde_text_of(plan, "missing"));
		(void)fputc('\n', cli->out);
	} else if (json_array_size(json_object_get(plan, "probes")) > 0) {
		sonde_view_line(cli, "bpf", "may be used");
	}
}

static void view_memory(struct sonde_cli *cli, const json_t *plan)
{
	char start[SONDE_UNIT_MAX], full[SONDE_UNIT_MAX];
	json_int_t bytes = json_integer_value(json_object_get(plan, "map_bytes"));
	json_int_t most = json_integer_value(json_object_get(plan, "map_bytes_full"));

	if (bytes > 0)
		(void)fprintf(cli->out, "%-10s %s of kernel memory, %s when every table is full\n",
			      "maps", sonde_unit_bytes((double)bytes, start),
			      sonde_unit_bytes((double)most, full));
}

int sonde_view_plan(struct sonde_cli *cli, const json_t *plan, bool task)
{
	int status = 0;

	sonde_view_line(cli, "agent", sonde_text_of(plan, "agent_id"));
	view_bpf(cli, plan);
	view_memory(cli, plan);
	cli->headed = true;
	if (task)
		status = sonde_view_targets(cli, plan);
	if (status == 0 && json_array_size(json_object_get(plan, "probes")) > 0) {
		sonde_view_heading(cli, "Probes");
		status = view_probes(cli, json_object_get(plan, "probes"));
	}
	if (status == 0 && task)
		status = sonde_view_absent(cli, plan);
	if (status != 0)
		return status;
	(void)fputc('\n', cli->out);
	if (*sonde_text_of(plan, "refused"))
		sonde_view_line(cli, "verdict", sonde_text_of(plan, "refused"));
	else
		sonde_view_line(cli, "verdict",
				task ? "it would run; nothing is attached"
				     : "every core metric has a probe");
	return 0;
}
