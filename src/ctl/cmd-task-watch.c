/* SPDX-License-Identifier: Apache-2.0 */
/* sonde task watch, attach, logs */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/events.h"
#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/run.h"
#include "ctl/units.h"
#include "ctl/view.h"
#include "ctl/wait.h"

struct watch {
	struct sonde_cli *cli;
	int status; /* of printing */
};

/* {"event":"task","task":{…}}, {"event":"end","state":"done"} */
static int print_event(struct watch *w, const char *event, const json_t *data)
{
	json_t *record;
	int status;

	if (strcmp(event, "task") == 0)
		record = json_pack("{s:s, s:O}", "event", event, "task", data);
	else
		record = json_pack("{s:s, s:O?}", "event", event, "state",
				   json_object_get(data, "state"));
	status =
		record ? sonde_cli_print_record(w->cli, record) : sonde_cli_broken(w->cli, -ENOMEM);
	json_decref(record);
	return status;
}

/* "RUNNING  00:23/01:00   edges …": what the progress of run shows, a line each. */
static int print_line(struct watch *w, const json_t *task)
{
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(8192);
	int64_t now_ms = sonde_wall_ms();
	int r;

	r = sonde_progress_line(task, now_ms, 0, &line);
	if (r == 0)
		r = sonde_buf_printf(&line, "   ");
	if (r == 0)
		r = sonde_progress_numbers(task, NULL, NULL, now_ms, &line);
	if (r < 0)
		return sonde_cli_broken(w->cli, r);
	(void)fprintf(w->cli->out, "%s\n", sonde_buf_str(&line));
	(void)fflush(w->cli->out);
	return SONDE_CLI_OK;
}

static int on_event(void *ctx, const char *event, const json_t *data)
{
	struct watch *w = ctx;

	if (sonde_cli_output(w->cli) == SONDE_CLI_JSON)
		w->status = print_event(w, event, data);
	else if (strcmp(event, "task") == 0)
		w->status = print_line(w, data);
	/* also where the one who read it has gone */
	return w->status != SONDE_CLI_OK || ferror(w->cli->out);
}

int sonde_watch_events(struct sonde_cli *cli, const char *id, struct sonde_signals *signals,
		       uint64_t timeout_ns)
{
	struct watch w = {.cli = cli};
	const struct sonde_events e = {
		.cli = cli,
		.id = id,
		.signals = signals,
		.timeout_ns = timeout_ns,
		.on_event = on_event,
		.ctx = &w,
	};
	int status = sonde_events_follow(&e);

	return w.status != SONDE_CLI_OK ? w.status : status;
}

int sonde_cli_task_watch(struct sonde_cli *cli)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	uint64_t timeout_ns;
	int status, r;

	status = sonde_wait_read_timeout(cli, &timeout_ns);
	if (status != 0)
		return status;
	r = sonde_signals_watch(&signals);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	status = sonde_watch_events(cli, cli->operands[0], &signals, timeout_ns);
	if (status == SONDE_CLI_TIMEOUT)
		status = sonde_cli_fail(cli, status, "task %s is still going on", cli->operands[0]);
	return status;
}

int sonde_cli_task_attach(struct sonde_cli *cli)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	int status, r;

	status = sonde_wait_check_flag(cli);
	if (status != 0)
		return status;
	r = sonde_signals_watch(&signals);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	return sonde_run_follow(cli, cli->operands[0], &signals);
}

/* --- logs --- */

struct logs {
	struct sonde_cli *cli;
	json_t *told; /* rows of the time line that were printed; owned */
	int status;
};

/* Rows may come in before others: what is told late stands where it came. */
static bool is_new(struct logs *l, const json_t *row)
{
	_cleanup_free_ char *key = json_dumps(row, JSON_COMPACT);

	if (!key || json_object_get(l->told, key))
		return false;
	return json_object_set_new(l->told, key, json_true()) == 0;
}

static void print_row(struct logs *l, const json_t *row)
{
	const char *words = sonde_text_of(row, "words");
	char time[SONDE_UNIT_MAX];
	int64_t at_ms;

	if (sonde_time_parse(sonde_text_of(row, "at"), &at_ms) == 0)
		(void)fprintf(l->cli->out, "%s  ",
			      sonde_time_local(at_ms, l->cli->settings->utc, time));
	sonde_view_text(l->cli, sonde_text_of(row, "state"));
	(void)fputs(*words ? ": " : "", l->cli->out);
	sonde_view_text(l->cli, words);
	(void)fputc('\n', l->cli->out);
	(void)fflush(l->cli->out);
}

static int print_new(struct logs *l, const json_t *task)
{
	const json_t *states = json_object_get(task, "states");
	int status = SONDE_CLI_OK;

	for (size_t i = 0; status == SONDE_CLI_OK && i < json_array_size(states); i++) {
		const json_t *row = json_array_get(states, i);

		if (!is_new(l, row))
			continue;
		if (sonde_cli_output(l->cli) == SONDE_CLI_JSON)
			status = sonde_cli_print_record(l->cli, row);
		else
			print_row(l, row);
	}
	return status;
}

static int on_log(void *ctx, const char *event, const json_t *data)
{
	struct logs *l = ctx;

	if (strcmp(event, "task") == 0)
		l->status = print_new(l, data);
	return l->status != SONDE_CLI_OK || ferror(l->cli->out);
}

static int follow_logs(struct logs *l)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	const struct sonde_events e = {.cli = l->cli,
				       .id = l->cli->operands[0],
				       .signals = &signals,
				       .on_event = on_log,
				       .ctx = l};
	int r = sonde_signals_watch(&signals), status;

	if (r < 0)
		return sonde_cli_broken(l->cli, r);
	status = sonde_events_follow(&e);
	return l->status != SONDE_CLI_OK ? l->status : status;
}

int sonde_cli_task_logs(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	struct logs l = {.cli = cli, .told = json_object()};
	int status;

	if (!l.told)
		return sonde_cli_broken(cli, -ENOMEM);
	if (sonde_cli_flag(cli, "follow")) {
		status = follow_logs(&l);
	} else {
		status = sonde_cli_get_task(cli, cli->operands[0], "", &answer);
		if (status == 0)
			status = print_new(&l, answer.json);
	}
	json_decref(l.told);
	return status;
}
