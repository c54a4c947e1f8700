/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "ctl/units.h"
#include "ctl/view.h"
#include "model/task.h"

#define SILENT_MS 5000 /* beyond two reports' time: then something is in the way */

static int new_table(struct sonde_cli *cli, const struct sonde_column *columns,
		     struct sonde_table **ret)
{
	int r = sonde_table_new(columns, ret);

	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

bool sonde_view_never_ran(const json_t *task)
{
	const json_t *states = json_object_get(task, "states");

	for (size_t i = 0; i < json_array_size(states); i++) {
		const char *s =
			json_string_value(json_object_get(json_array_get(states, i), "state"));

		if (s && strcmp(s, sonde_task_state_name(SONDE_TASK_RUNNING)) == 0)
			return false;
	}
	return json_is_object(task);
}

bool sonde_view_starts_at(const json_t *task, int64_t *ret_wall_ms)
{
	const json_t *spec = json_object_get(task, "spec");
	json_int_t ms = json_integer_value(json_object_get(spec, "startWallMs"));

	if (ms <= 0 || json_is_string(json_object_get(task, "started")) ||
	    json_is_string(json_object_get(task, "ended")))
		return false;
	*ret_wall_ms = ms;
	return true;
}

int sonde_view_timeline(struct sonde_cli *cli, const json_t *task)
{
	static const struct sonde_column columns[] = {{"AT", false, false},
						      {"AFTER", true, false},
						      {"STATE", false, false},
						      {"WORDS", false, true},
						      {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *states = json_object_get(task, "states");
	int64_t first_ms = -1, at_ms;
	int status;

	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(states); i++) {
		const json_t *row = json_array_get(states, i);
		const char *at = json_string_value(json_object_get(row, "at"));

		sonde_cell_time(t, cli, row, "at");
		if (at && sonde_time_parse(at, &at_ms) == 0) {
			if (first_ms < 0)
				first_ms = at_ms;
			sonde_table_addf(t, "+%.3f s", (double)(at_ms - first_ms) / 1000);
		} else {
			sonde_table_add(t, NULL);
		}
		sonde_cell_state(t, row, "state");
		sonde_cell_text(t, row, "words");
	}
	return sonde_view_table(cli, t);
}

/* Of a denied one the reason is the name of a rule, which holds no blank, or words. */
static void cell_reason(struct sonde_table *t, const json_t *target)
{
	const char *state = json_string_value(json_object_get(target, "state"));
	const char *reason = json_string_value(json_object_get(target, "reason"));

	if (state && reason && *reason && strcmp(state, "denied") == 0 && !strchr(reason, ' '))
		sonde_table_addf(t, "refused by rule %.64s of the node's policy", reason);
	else
		sonde_cell_text(t, target, "reason");
}

static bool is_absentee(const json_t *target)
{
	const char *state = json_string_value(json_object_get(target, "state"));

	return state && strcmp(state, "found") != 0 && strcmp(state, "forked") != 0;
}

static int view_targets(struct sonde_cli *cli, const json_t *task, bool absentees)
{
	static const struct sonde_column columns[] = {
		{"TARGET", false, true}, {"PID", true, false},	  {"STATE", false, false},
		{"SINCE", false, false}, {"REASON", false, true}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *targets = json_object_get(task, "targets");
	int status;

	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *row = json_array_get(targets, i);
		const json_t *pid = json_object_get(row, "pid");

		if (absentees && !is_absentee(row))
			continue;
		sonde_cell_text(t, row, "name");
		if (json_integer_value(pid) > 0)
			sonde_table_addf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(pid));
		else
			sonde_table_add(t, NULL);
		sonde_cell_text(t, row, "state");
		sonde_cell_time(t, cli, row, "since");
		cell_reason(t, row);
	}
	if (sonde_table_rows(t) == 0)
		return 0;
	sonde_view_heading(cli, absentees ? "Targets that were not there to the end" : "Targets");
	return sonde_view_table(cli, t);
}

int sonde_view_targets(struct sonde_cli *cli, const json_t *task)
{
	return view_targets(cli, task, false);
}

int sonde_view_absentees(struct sonde_cli *cli, const json_t *task)
{
	return view_targets(cli, task, true);
}

int sonde_view_probes(struct sonde_cli *cli, const json_t *task)
{
	static const struct sonde_column columns[] = {
		{"PROBE", false, true},	  {"STATE", false, false}, {"OPEN", true, false},
		{"LOAD", true, false},	  {"ATTACH", true, false}, {"DETACH", true, false},
		{"METRICS", false, true}, {"REASON", false, true}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *probes = json_object_get(task, "probes");
	int status;

	if (json_array_size(probes) == 0)
		return 0;
	sonde_view_heading(cli, "Probes");
	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(probes); i++) {
		static const char *const times[] = {"open_ns", "load_ns", "attach_ns", "detach_ns"};
		const json_t *row = json_array_get(probes, i);

		sonde_cell_text(t, row, "name");
		sonde_cell_text(t, row, "state");
		for (size_t n = 0; n < ELEMENTS_OF(times); n++) {
			/* told once, at the collector's first probe */
			if (json_integer_value(json_object_get(row, times[n])) > 0)
				sonde_cell_ns(t, row, times[n]);
			else
				sonde_table_add(t, NULL);
		}
		sonde_cell_text(t, row, "metrics");
		sonde_cell_text(t, row, "reason");
	}
	return sonde_view_table(cli, t);
}

static bool is_unasked(const json_t *row)
{
	const char *reason = json_string_value(json_object_get(row, "reason"));

	return reason && strcmp(reason, "not requested") == 0;
}

int sonde_view_absent(struct sonde_cli *cli, const json_t *task)
{
	static const struct sonde_column columns[] = {
		{"ABSENT METER", false, false}, {"REASON", false, true}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *absent = json_object_get(task, "absent");
	bool fold = sonde_cli_output(cli) != SONDE_CLI_WIDE;
	char words[64];
	size_t unasked = 0;
	int status;

	if (json_array_size(absent) == 0)
		return 0;
	sonde_view_heading(cli, "Not measured");
	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(absent); i++) {
		const json_t *row = json_array_get(absent, i);

		if (fold && is_unasked(row)) {
			unasked++;
			continue;
		}
		sonde_cell_text(t, row, "meter");
		sonde_cell_text(t, row, "reason");
	}
	if (unasked > 0) {
		(void)snprintf(words, sizeof(words), "%zu meters of other presets", unasked);
		sonde_table_add(t, words);
		sonde_table_add(
			t, "not requested (-o wide names them; sonde task presets: what has them)");
	}
	return sonde_view_table(cli, t);
}

static void cost_line(struct sonde_cli *cli, const json_t *cost, const char *label, const char *key,
		      const char *(*unit)(double, char *))
{
	const json_t *value = json_object_get(cost, key);
	char text[SONDE_UNIT_MAX];

	if (json_is_number(value))
		(void)fprintf(cli->out, "%-29s %s\n", label, unit(json_number_value(value), text));
}

static void cost_upload(struct sonde_cli *cli, const json_t *cost)
{
	double raw = json_number_value(json_object_get(cost, "report_bytes"));
	double wire = json_number_value(json_object_get(cost, "report_bytes_compressed"));
	const char *encoding = json_string_value(json_object_get(cost, "encoding"));
	char a[SONDE_UNIT_MAX], b[SONDE_UNIT_MAX], n[SONDE_UNIT_MAX];

	if (!json_is_number(json_object_get(cost, "reports")))
		return;
	(void)fprintf(cli->out, "%-29s %s of %s, ", "reports taken before the end",
		      sonde_unit_count(json_integer_value(json_object_get(cost, "reports")), n),
		      sonde_unit_bytes(raw, a));
	(void)fprintf(cli->out, "%s on the wire", sonde_unit_bytes(wire, b));
	if (wire > 0)
		(void)fprintf(cli->out, " (%.1f : 1)", raw / wire);
	(void)fputs(", ", cli->out);
	sonde_view_text(cli, encoding && *encoding ? encoding : "identity");
	(void)fputc('\n', cli->out);
}

static int cost_programs(struct sonde_cli *cli, const json_t *programs)
{
	static const struct sonde_column columns[] = {{"PROGRAM", false, true},
						      {"RUNS", true, false},
						      {"OWN TIME/RUN", true, false},
						      {"HOOK/RUN", true, false},
						      {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int status;

	if (json_array_size(programs) == 0)
		return 0;
	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(programs); i++) {
		const json_t *row = json_array_get(programs, i);

		sonde_cell_text(t, row, "name");
		sonde_cell_count(t, row, "runs");
		sonde_cell_ns(t, row, "sampled_ns_per_run");
		sonde_cell_ns(t, row, "hook_ns_per_run");
	}
	return sonde_view_table(cli, t);
}

/* Timed runs that held an interrupt: nothing where there are none, or the agent does not tell. */
static void cost_discarded(struct sonde_cli *cli, const json_t *programs)
{
	json_int_t timed = 0, discarded = 0;
	char a[SONDE_UNIT_MAX], b[SONDE_UNIT_MAX];

	for (size_t i = 0; i < json_array_size(programs); i++) {
		const json_t *row = json_array_get(programs, i);

		timed += json_integer_value(json_object_get(row, "sampled_runs"));
		discarded += json_integer_value(json_object_get(row, "discarded_runs"));
	}
	if (discarded > 0)
		(void)fprintf(
			cli->out,
			"%s of %s timed runs took over 5us, an interrupt among them: left out of OWN TIME\n",
			sonde_unit_count(discarded, a), sonde_unit_count(timed + discarded, b));
}

int sonde_view_cost(struct sonde_cli *cli, const json_t *task)
{
	const json_t *cost = json_object_get(task, "cost");
	int status;

	if (json_object_size(cost) == 0 || sonde_view_never_ran(task))
		return 0;
	sonde_view_heading(cli, "Own cost (all of Sonde meanwhile, other tasks' part too)");
	cost_line(cli, cost, "in the kernel (estimated)", "bpf_estimated_ns", sonde_unit_ns);
	cost_line(cli, cost, "sonde-agent CPU", "agent_cpu_ns", sonde_unit_ns);
	cost_line(cli, cost, "sonde-probe CPU", "probe_cpu_ns", sonde_unit_ns);
	cost_line(cli, cost, "sonde-agent anonymous memory", "agent_rss_anon_bytes",
		  sonde_unit_bytes);
	cost_line(cli, cost, "sonde-probe anonymous memory", "probe_rss_anon_bytes",
		  sonde_unit_bytes);
	cost_line(cli, cost, "BPF maps (kernel memory)", "map_bytes", sonde_unit_bytes);
	cost_upload(cli, cost);
	status = cost_programs(cli, json_object_get(cost, "programs"));
	if (status == 0)
		cost_discarded(cli, json_object_get(cost, "programs"));
	return status;
}

static json_int_t whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_proof(struct sonde_cli *cli, const json_t *proof)
{
	char wait[SONDE_UNIT_MAX];

	(void)fprintf(cli->out,
		      "loaded %" JSON_INTEGER_FORMAT " programs, %" JSON_INTEGER_FORMAT
		      " maps, %" JSON_INTEGER_FORMAT " links; left: %" JSON_INTEGER_FORMAT
		      " BPF descriptors",
		      whole(proof, "programs"), whole(proof, "maps"), whole(proof, "links"),
		      whole(proof, "bpf_fds_left"));
	if (!json_is_true(json_object_get(proof, "ids_asked"))) {
		(void)fprintf(
			cli->out,
			", and nothing is ever pinned\nThe kernel's own word on each id is "
			"root's to ask, for all tasks since boot: on the node, sudo sonde-agent "
			"--idle-proof, with the agent's --state-dir\n");
	} else {
		(void)fprintf(cli->out,
			      ", %" JSON_INTEGER_FORMAT " ids alive (the last went after %s)\n",
			      whole(proof, "ids_alive"),
			      sonde_unit_ns((double)whole(proof, "wait_ns"), wait));
	}
}

/* Why this agent of a task that ran and ended sent none. */
static const char *no_proof_words(const json_t *task, const json_t *agent)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	enum sonde_task_state s;

	if (json_is_false(json_object_get(agent, "ended")))
		return "it sent no last report: whether anything is left is not known";
	if (state && sonde_task_state_from_name(state, &s) == 0 && s == SONDE_TASK_FAILED)
		return "its probe could not make one";
	return "another task of it still ran, so its probes stayed attached; the last task to end "
	       "has the proof";
}

static void print_no_proof(struct sonde_cli *cli, const json_t *task, const json_t *agent)
{
	const char *id = json_string_value(json_object_get(agent, "agent_id"));

	(void)fputs("none of agent ", cli->out);
	sonde_view_text(cli, id ? id : "?");
	(void)fprintf(cli->out, ": %s\n", no_proof_words(task, agent));
}

static bool is_over(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	enum sonde_task_state s;

	return state && sonde_task_state_from_name(state, &s) == 0 && sonde_task_state_final(s);
}

int sonde_view_idle_proof(struct sonde_cli *cli, const json_t *task)
{
	const json_t *proof = json_object_get(task, "idle_proof");
	const json_t *agents = json_object_get(task, "agents");
	bool over = is_over(task) && !sonde_view_never_ran(task);
	size_t without = 0;

	for (size_t i = 0; over && i < json_array_size(agents); i++) {
		const json_t *agent = json_array_get(agents, i);

		without += json_is_false(json_object_get(agent, "idle_proof"));
	}
	if (json_object_size(proof) == 0 && without == 0)
		return 0;
	sonde_view_heading(cli, "Idle proof");
	if (json_object_size(proof) > 0)
		print_proof(cli, proof);
	for (size_t i = 0; without > 0 && i < json_array_size(agents); i++) {
		const json_t *agent = json_array_get(agents, i);

		if (json_is_false(json_object_get(agent, "idle_proof")))
			print_no_proof(cli, task, agent);
	}
	return 0;
}

int64_t sonde_view_lost(const json_t *ledger)
{
	const json_t *entries = json_object_get(ledger, "entries");
	int64_t lost = 0;

	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *row = json_array_get(entries, i);

		if (json_is_true(json_object_get(row, "weakens")))
			lost = sonde_view_add(lost, whole(row, "count"));
	}
	if (lost == 0 && json_is_false(json_object_get(ledger, "complete")))
		return -1;
	return lost;
}

static int ledger_entries(struct sonde_cli *cli, const json_t *entries)
{
	static const struct sonde_column columns[] = {
		{"SITE", false, false},	       {"COUNT", true, false},
		{"NUMBERS ARE", false, false}, {"FIRST", false, false, true},
		{"LAST", false, false, true},  {"AGENT", false, false, true},
		{"WORDS", false, true},	       {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int status;

	if (json_array_size(entries) == 0)
		return 0;
	status = new_table(cli, columns, &t);
	if (status != 0)
		return status;
	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *row = json_array_get(entries, i);
		bool weakens = json_is_true(json_object_get(row, "weakens"));

		sonde_cell_text(t, row, "site");
		sonde_cell_count(t, row, "count");
		sonde_table_add_styled(t, weakens ? SONDE_STYLE_YELLOW : SONDE_STYLE_NONE,
				       weakens ? "lower bounds" : "exact");
		sonde_cell_time(t, cli, row, "first_seen");
		sonde_cell_time(t, cli, row, "last_seen");
		sonde_cell_text(t, row, "agent_id");
		sonde_cell_text(t, row, "words");
	}
	return sonde_view_table(cli, t);
}

static enum sonde_task_state state_of(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	enum sonde_task_state s = SONDE_TASK_DONE;

	if (state && sonde_task_state_from_name(state, &s) < 0)
		s = SONDE_TASK_DONE;
	return s;
}

/* What the ledger means for the numbers of @task. */
static const char *ledger_words(int64_t lost, const json_t *task)
{
	const enum sonde_task_state s = state_of(task);
	bool failed = s == SONDE_TASK_FAILED || s == SONDE_TASK_REFUSED || s == SONDE_TASK_EXPIRED;

	if (failed && sonde_view_never_ran(task))
		return "nothing was measured";
	if (lost > 0)
		return " lost: numbers are lower bounds";
	if (lost < 0)
		return "not complete: reports are missing";
	if (failed)
		return "not complete: the task ended before its time, numbers are of what came until then";
	if (!sonde_task_state_final(s))
		return "nothing was lost so far: every number is exact, of what has come";
	return "nothing was lost: every number is exact";
}

int64_t sonde_view_silence_ms(const json_t *task, const json_t *reports)
{
	const json_int_t silent_ms = whole(reports, "silent_ms");
	const json_int_t interval_ms = whole(task, "report_interval_ms");
	const json_int_t usual_ms = sonde_view_add(interval_ms, interval_ms);

	if (!json_is_object(task) || sonde_task_state_final(state_of(task)) ||
	    silent_ms <= sonde_view_add(usual_ms, SILENT_MS))
		return 0;
	return silent_ms;
}

/* Behind an outage there are reports that the server has not seen: their numbers are still to come. */
static void print_on_the_way(struct sonde_cli *cli, const json_t *reports, const json_t *task)
{
	const json_int_t spooled = whole(reports, "spooled");
	const int64_t silent_ms = sonde_view_silence_ms(task, reports);
	char text[SONDE_UNIT_MAX];

	if (spooled > 0)
		(void)fprintf(cli->out, "; reports still on their way: agents spool %s",
			      sonde_unit_count(spooled, text));
	else if (silent_ms > 0)
		(void)fprintf(cli->out,
			      "; no report for %s: what its agent holds comes when it is back",
			      sonde_unit_clock(silent_ms, text));
}

int sonde_view_ledger(struct sonde_cli *cli, const json_t *ledger, const json_t *task)
{
	const json_t *reports = json_object_get(ledger, "reports");
	int64_t lost = sonde_view_lost(ledger);
	const char *words = ledger_words(lost, task);
	char text[SONDE_UNIT_MAX];

	sonde_view_heading(cli, "Loss ledger");
	(void)fprintf(cli->out, "%s%s", *words == ' ' ? sonde_unit_count(lost, text) : "", words);
	if (json_is_object(reports)) {
		(void)fprintf(cli->out,
			      "; reports received %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
			      ", %" JSON_INTEGER_FORMAT " duplicates, %" JSON_INTEGER_FORMAT
			      " missing",
			      whole(reports, "received"), whole(reports, "sequence"),
			      whole(reports, "duplicates"), whole(reports, "missing"));
		print_on_the_way(cli, reports, task);
	}
	(void)fputc('\n', cli->out);
	return ledger_entries(cli, json_object_get(ledger, "entries"));
}
