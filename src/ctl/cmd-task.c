/* SPDX-License-Identifier: Apache-2.0 */
/* sonde task create, list, get, wait, stop, extend */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/spec.h"
#include "ctl/units.h"
#include "ctl/view.h"
#include "ctl/wait.h"
#include "model/task.h"

static int print_spec(struct sonde_cli *cli, const json_t *spec)
{
	if (json_dumpf(spec, cli->out, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII) <
	    0)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "cannot write JSON");
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

int sonde_cli_task_create(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *id;
	json_t *spec;
	int status;

	if (sonde_cli_flag(cli, "dry-run"))
		return sonde_cli_dry_run(cli);
	status = sonde_cli_build_spec(cli, &spec);
	if (status != 0)
		return status;
	if (sonde_cli_flag(cli, "print-spec")) {
		status = print_spec(cli, spec);
		json_decref(spec);
		return status;
	}
	status = sonde_cli_send_spec(cli, spec, &answer, &id);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	sonde_view_text(cli, id);
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

static void cell_duration(struct sonde_table *t, const json_t *task)
{
	const json_t *ms = json_object_get(task, "duration_ms");
	char text[SONDE_UNIT_MAX];

	if (json_is_number(ms))
		sonde_table_add(t, sonde_unit_clock((int64_t)json_integer_value(ms), text));
	else
		sonde_table_add(t, NULL);
}

/* When it began, or is to begin. */
static void cell_start(const struct sonde_cli *cli, struct sonde_table *t, const json_t *task)
{
	char text[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (sonde_view_starts_at(task, &wall_ms))
		sonde_table_addf(t, "at %s", sonde_time_local(wall_ms, cli->settings->utc, text));
	else
		sonde_cell_time(t, cli, task, "started");
}

int sonde_cli_task_list(struct sonde_cli *cli)
{
	static const struct sonde_column columns[] = {
		{"TASK", false, false},	   {"NAME", false, true},     {"PRESET", false, false},
		{"STATE", false, false},   {"CREATED", false, false}, {"START", false, false},
		{"DURATION", true, false}, {"REASON", false, true},   {NULL}};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *tasks;
	int r;

	r = sonde_cli_request(cli, "/api/v1/tasks", NULL, &answer);
	if (r != 0)
		return r;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	r = sonde_table_new(columns, &t);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	tasks = json_object_get(answer.json, "tasks");
	for (size_t i = 0; i < json_array_size(tasks); i++) {
		const json_t *row = json_array_get(tasks, i);

		sonde_cell_text(t, row, "id");
		sonde_cell_text(t, row, "name");
		sonde_cell_text(t, row, "preset");
		sonde_cell_state(t, row, "state");
		sonde_cell_time(t, cli, row, "created");
		cell_start(cli, t, row);
		cell_duration(t, row);
		sonde_cell_text(t, row, "reason");
	}
	if (json_array_size(tasks) >= SONDE_TASK_LIST_DEFAULT)
		sonde_cli_note(cli, "older tasks may be left out: these are the newest %zu",
			       json_array_size(tasks));
	return sonde_view_table(cli, t);
}

static void head_line(struct sonde_cli *cli, const json_t *task, const char *label, const char *key)
{
	const char *text = json_string_value(json_object_get(task, key));

	if (!text || !*text)
		return;
	(void)fprintf(cli->out, "%-10s ", label);
	sonde_view_text(cli, text);
	(void)fputc('\n', cli->out);
}

static void head_start(struct sonde_cli *cli, const json_t *task)
{
	char text[SONDE_UNIT_MAX];
	int64_t wall_ms;

	if (sonde_view_starts_at(task, &wall_ms))
		(void)fprintf(cli->out, "%-10s %s\n", "starts",
			      sonde_time_local(wall_ms, cli->settings->utc, text));
}

static int print_task(struct sonde_cli *cli, const json_t *task)
{
	int status;

	cli->headed = true;
	head_line(cli, task, "task", "id");
	head_line(cli, task, "name", "name");
	head_line(cli, task, "preset", "preset");
	head_line(cli, task, "state", "state");
	head_start(cli, task);
	head_line(cli, task, "reason", "reason");
	head_line(cli, task, "asked by", "created_by");
	sonde_view_heading(cli, "Time line");
	status = sonde_view_timeline(cli, task);
	if (status == 0)
		status = sonde_view_targets(cli, task);
	if (status == 0)
		status = sonde_view_probes(cli, task);
	if (status == 0)
		status = sonde_view_cost(cli, task);
	if (status == 0)
		status = sonde_view_idle_proof(cli, task);
	return status == 0 ? sonde_view_absent(cli, task) : status;
}

int sonde_cli_task_get(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	int status;

	status = sonde_cli_get_task(cli, cli->operands[0], "", &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_task(cli, answer.json);
}

/* What an action answers: json verbatim, else one line. */
static int print_action(struct sonde_cli *cli, const struct sonde_rest_answer *answer,
			const char *word)
{
	const char *id = json_string_value(json_object_get(answer->json, "id"));
	const char *state = json_string_value(json_object_get(answer->json, "state"));

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, answer);
	sonde_cli_note(cli, "task %s %s, state %s", id ? id : "?", word, state ? state : "?");
	return SONDE_CLI_OK;
}

static bool has_ended(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	enum sonde_task_state s;

	return state && sonde_task_state_from_name(state, &s) == 0 && sonde_task_state_final(s);
}

int sonde_cli_task_stop(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_answer_ struct sonde_rest_answer before = SONDE_REST_ANSWER_INIT;
	const char *reason = sonde_cli_flag(cli, "reason");
	_cleanup_free_ char *body = NULL;
	json_t *object;
	int status;

	object = json_pack("{s:s}", "reason", reason ? reason : "stopped from the command line");
	if (!object)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--reason: expected UTF-8");
	body = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	/* to stop what has ended is no error; the answer alone would not tell the two apart */
	status = sonde_cli_get_task(cli, cli->operands[0], "", &before);
	if (status == 0)
		status = sonde_cli_post_task(cli, cli->operands[0], "/stop", body, &answer);
	if (status != 0)
		return status;
	return print_action(cli, &answer,
			    has_ended(before.json) ? "had ended already" : "is told to stop");
}

int sonde_cli_task_extend(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *text = cli->operands[1];
	char body[64];
	uint64_t ns;
	int status;

	if (sonde_parse_duration_ns(*text == '+' ? text + 1 : text, &ns) < 0 ||
	    ns < SONDE_NS_PER_MS)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "expected a duration such as 5m, got '%.64s'", text);
	(void)snprintf(body, sizeof(body), "{\"duration_ms\":%llu}", ns / SONDE_NS_PER_MS);
	status = sonde_cli_post_task(cli, cli->operands[0], "/extend", body, &answer);
	return status != 0 ? status : print_action(cli, &answer, "is extended");
}

static int wait_flags(struct sonde_cli *cli, struct sonde_wait *w)
{
	const char *state = sonde_cli_flag(cli, "for"), *timeout = sonde_cli_flag(cli, "timeout");

	if (state && strcmp(state, "running") != 0 && strcmp(state, "done") != 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--for: expected running or done, got '%.64s'", state);
	if (state && strcmp(state, "running") == 0)
		w->state = "running";
	if (timeout && (sonde_parse_duration_ns(timeout, &w->timeout_ns) < 0 || !w->timeout_ns))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--timeout: expected a duration such as 2m, got '%.64s'",
				      timeout);
	return sonde_wait_check_flag(cli);
}

static int wait_finish(struct sonde_cli *cli, struct sonde_wait *w)
{
	_cleanup_answer_ struct sonde_rest_answer ledger = SONDE_REST_ANSWER_INIT;
	int status;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		(void)sonde_cli_print_json(cli, &w->task);
	status = sonde_wait_verdict(cli, w->task.json);
	if (status == 0 && w->state && has_ended(w->task.json))
		return sonde_cli_fail(cli, SONDE_CLI_NO, "task %s is not %s: it is %s", w->id,
				      w->state,
				      json_string_value(json_object_get(w->task.json, "state")));
	if (status != 0 || w->state || !sonde_cli_flag(cli, "max-loss"))
		return status;
	status = sonde_cli_get_task(cli, w->id, "/ledger", &ledger);
	return status != 0 ? status : sonde_wait_check_loss(cli, ledger.json);
}

int sonde_cli_task_wait(struct sonde_cli *cli)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	_cleanup_wait_ struct sonde_wait w = {
		.cli = cli,
		.id = cli->operands[0],
		.signals = &signals,
		.progress = {.cli = cli, .ctrl_c = "Ctrl-C to leave it"},
		SONDE_WAIT_ANSWERS_INIT,
	};
	int status;

	status = wait_flags(cli, &w);
	if (status == 0) {
		int r = sonde_signals_watch(&signals);

		status = r < 0 ? sonde_cli_broken(cli, r) : sonde_wait_run(&w);
	}
	if (status == 0)
		status = wait_finish(cli, &w);
	else if (status == SONDE_CLI_TIMEOUT && w.task.json)
		status = sonde_cli_fail(cli, status, "task %s is still going on", w.id);
	return status;
}
