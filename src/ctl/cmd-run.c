/* SPDX-License-Identifier: Apache-2.0 */
/* sonde run: create, follow, summarise */
#include <errno.h>
#include <string.h>

#include "ctl/output.h"
#include "ctl/run.h"
#include "ctl/spec.h"
#include "ctl/view.h"
#include "ctl/wait.h"

struct summary {
	struct sonde_rest_answer task;
	struct sonde_rest_answer topology;
	struct sonde_rest_answer ledger;
};

static void summary_done(struct summary *s)
{
	sonde_rest_answer_done(&s->task);
	sonde_rest_answer_done(&s->topology);
	sonde_rest_answer_done(&s->ledger);
}
#define _cleanup_summary_ _cleanup_(summary_done)

static int create(struct sonde_cli *cli, char **ret_id)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *id;
	json_t *spec;
	int status;

	status = sonde_cli_build_spec(cli, &spec);
	if (status == 0)
		status = sonde_cli_send_spec(cli, spec, &answer, &id);
	if (status != 0)
		return status;
	*ret_id = strdup(id);
	return *ret_id ? 0 : sonde_cli_broken(cli, -ENOMEM);
}

static int fetch_summary(struct sonde_cli *cli, const char *id, struct summary *s)
{
	int status;

	/* once more: the last look may be older than the last report */
	status = sonde_cli_get_task(cli, id, "", &s->task);
	if (status == 0)
		status = sonde_cli_get_task(cli, id, "/topology", &s->topology);
	if (status == 0)
		status = sonde_cli_get_task(cli, id, "/ledger", &s->ledger);
	return status;
}

/* The three answers; their keys stay in the server's order. */
static int print_summary_json(struct sonde_cli *cli, const struct summary *s)
{
	bool stream = cli->settings->output == SONDE_CLI_FORM_JSONL;
	json_t *all =
		json_pack("{s:s*, s:O, s:O, s:O}", "event", stream ? "summary" : NULL, "task",
			  s->task.json, "topology", s->topology.json, "ledger", s->ledger.json);
	int status = all ? sonde_cli_print_value(cli, all) : sonde_cli_broken(cli, -ENOMEM);

	json_decref(all);
	return status;
}

static int print_summary(struct sonde_cli *cli, const struct summary *s)
{
	const char *id = json_string_value(json_object_get(s->task.json, "id"));
	int status;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return print_summary_json(cli, s);
	cli->headed = true;
	(void)fputs("Task ", cli->out);
	sonde_view_text(cli, id ? id : "?");
	(void)fputc('\n', cli->out);
	sonde_view_heading(cli, "Time line");
	status = sonde_view_timeline(cli, s->task.json);
	if (sonde_view_never_ran(s->task.json)) /* then there is nothing to count, only why */
		return status == 0 ? sonde_view_targets(cli, s->task.json) : status;
	if (status == 0)
		status = sonde_view_absentees(cli, s->task.json);
	sonde_view_heading(cli, "Edges");
	if (status == 0 && json_array_size(json_object_get(s->topology.json, "edges")) > 0)
		status = sonde_view_edges(cli, s->topology.json);
	if (status == 0)
		status = sonde_view_quiet(cli, s->task.json, s->topology.json);
	if (status == 0)
		status = sonde_view_verdicts(cli, s->topology.json);
	if (status == 0)
		status = sonde_view_ledger(cli, s->ledger.json, s->task.json);
	if (status == 0)
		status = sonde_view_cost(cli, s->task.json);
	if (status == 0)
		status = sonde_view_idle_proof(cli, s->task.json);
	return status == 0 ? sonde_view_absent(cli, s->task.json) : status;
}

static int summarise(struct sonde_cli *cli, const char *id)
{
	_cleanup_summary_ struct summary s = {.task = SONDE_REST_ANSWER_INIT,
					      .topology = SONDE_REST_ANSWER_INIT,
					      .ledger = SONDE_REST_ANSWER_INIT};
	int status;

	status = fetch_summary(cli, id, &s);
	if (status == 0)
		status = print_summary(cli, &s);
	if (status == 0)
		status = sonde_wait_verdict(cli, s.task.json);
	return status == 0 ? sonde_wait_check_loss(cli, s.ledger.json) : status;
}

static int detach(struct sonde_cli *cli, const char *id, int status)
{
	sonde_cli_note(cli, "detached; the task goes on by itself. Again: sonde task attach %s",
		       id);
	sonde_cli_note(cli, "then: sonde topology %s; to end it: sonde task stop %s", id, id);
	return status;
}

/* The task is told to stop, and its last report is waited for; a second signal quits at once. */
static int stop_and_wait(struct sonde_cli *cli, struct sonde_wait *w, int by_signal)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	struct sonde_signals *signals = w->signals;
	int status;

	status = sonde_cli_post_task(cli, w->id, "/stop",
				     "{\"reason\":\"interrupted by the person who "
				     "ran it\"}",
				     &answer);
	if (status != 0)
		return status;
	sonde_cli_note(cli, "stopping task %s; once more to quit at once", w->id);
	signals->interrupts = 0;
	signals->terminated = false;
	w->progress.ctrl_c = "stopping";
	status = sonde_wait_run(w);
	if (status == SONDE_CLI_SIGINT || status == SONDE_CLI_SIGTERM)
		return detach(cli, w->id, status);
	if (status != 0)
		return status;
	status = summarise(cli, w->id);
	return status == 0 ? by_signal : status;
}

int sonde_run_follow(struct sonde_cli *cli, const char *id, struct sonde_signals *signals)
{
	bool stop = sonde_cli_flag(cli, "stop-on-exit");
	_cleanup_wait_ struct sonde_wait w = {
		.cli = cli,
		.id = id,
		.live = true,
		.signals = signals,
		.progress = {.cli = cli, .ctrl_c = stop ? "Ctrl-C to stop" : "Ctrl-C to detach"},
		SONDE_WAIT_ANSWERS_INIT,
	};
	int status;

	if (cli->settings->output == SONDE_CLI_FORM_JSONL)
		status = sonde_watch_events(cli, id, signals, 0);
	else
		status = 0;
	if (status == 0) /* the stream ends with the task; its last reports may still come in */
		status = sonde_wait_run(&w);
	if (status == 0)
		status = summarise(cli, id);
	else if ((status == SONDE_CLI_SIGINT || status == SONDE_CLI_SIGTERM) && stop)
		status = stop_and_wait(cli, &w, status);
	else if (status == SONDE_CLI_SIGINT || status == SONDE_CLI_SIGTERM)
		status = detach(cli, id, status);
	return status;
}

int sonde_cli_run(struct sonde_cli *cli)
{
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	_cleanup_free_ char *id = NULL;
	int status, r;

	if (sonde_cli_flag(cli, "dry-run"))
		return sonde_cli_dry_run(cli);
	status = sonde_wait_check_flag(cli);
	if (status != 0)
		return status;
	/* before the task exists, so that none is created and then forgotten */
	r = sonde_signals_watch(&signals);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	status = create(cli, &id);
	if (status != 0)
		return status;
	return sonde_run_follow(cli, id, &signals);
}
