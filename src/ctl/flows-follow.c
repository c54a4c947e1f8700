/* SPDX-License-Identifier: Apache-2.0 */
/* sonde flows -f: a connection's numbers are final once it has ended, and then it is printed, once */
#include "ctl/flows.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/output.h"
#include "ctl/signals.h"
#include "ctl/wait.h"
#include "ctl/watch.h"
#include "model/task.h"

#define SEEN_MAX 1000000 /* connections of one follow */
#define PAGE "1000"
#define LAST_REPORT_NS                                                                             \
	(5 * SONDE_NS_PER_S) /* the end is told before the last report's rows are in */

struct follow {
	struct sonde_cli *cli;
	json_t *seen;	   /* "AGENT/ID" of what was printed; owned */
	bool full;	   /* SEEN_MAX is reached, and told */
	uint64_t final_ns; /* since when the task has ended; 0 = it has not */
};

/* Notes it. False: it was printed before, or there is no room to know. */
static bool is_new(struct follow *f, const json_t *flow)
{
	char key[320];

	(void)snprintf(key, sizeof(key), "%.256s/%.32s", sonde_text_of(flow, "agent_id"),
		       sonde_text_of(flow, "id"));
	if (json_object_get(f->seen, key))
		return false;
	if (json_object_size(f->seen) >= SEEN_MAX) {
		if (!f->full)
			sonde_cli_note(f->cli, "more than %d connections: the others are left out",
				       SEEN_MAX);
		f->full = true;
		return false;
	}
	return json_object_set_new_nocheck(f->seen, key, json_true()) == 0;
}

static int print_new(struct follow *f, const json_t *flows)
{
	json_auto_t *fresh = json_array();
	int status = SONDE_CLI_OK;

	if (!fresh)
		return sonde_cli_broken(f->cli, -ENOMEM);
	for (size_t i = 0; i < json_array_size(flows); i++) {
		json_t *flow = json_array_get(flows, i);

		if (is_new(f, flow) && json_array_append(fresh, flow) < 0)
			return sonde_cli_broken(f->cli, -ENOMEM);
	}
	if (sonde_cli_output(f->cli) != SONDE_CLI_JSON) {
		if (json_array_size(fresh) == 0)
			return SONDE_CLI_OK;
		status = sonde_flows_table(f->cli, fresh);
		f->cli->headers = false; /* once is enough */
		(void)fflush(f->cli->out);
		return status;
	}
	for (size_t i = 0; status == SONDE_CLI_OK && i < json_array_size(fresh); i++)
		status = sonde_cli_print_record(f->cli, json_array_get(fresh, i));
	return status;
}

static int page_path(struct follow *f, const char *state, const char *cursor,
		     struct sonde_buf *path)
{
	static const char *const filters[] = {"process", "peer", "role"};
	int r = sonde_cli_task_path(f->cli->operands[0], "/flows", path);

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(filters); i++)
		r = sonde_cli_add_parameter(path, filters[i], sonde_cli_flag(f->cli, filters[i]));
	if (r == 0)
		r = sonde_cli_add_parameter(path, "state", state);
	if (r == 0)
		r = sonde_cli_add_parameter(path, "sort", "start");
	if (r == 0)
		r = sonde_cli_add_parameter(path, "limit", PAGE);
	return r < 0 ? r : sonde_cli_add_parameter(path, "cursor", cursor);
}

/* All pages. @state: NULL = the open ones too. */
static int look(struct follow *f, const char *state)
{
	_cleanup_free_ char *cursor = NULL;
	int status = SONDE_CLI_OK;

	do {
		_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
		_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(8192);
		const char *next;
		int r = page_path(f, state, cursor, &path);

		if (r < 0)
			return sonde_cli_no_task_path(f->cli, f->cli->operands[0], r);
		status = sonde_cli_request(f->cli, sonde_buf_str(&path), NULL, &answer);
		if (status != SONDE_CLI_OK)
			return status;
		status = print_new(f, json_object_get(answer.json, "flows"));
		free(cursor);
		cursor = NULL;
		next = json_string_value(json_object_get(answer.json, "next"));
		if (next) {
			cursor = strdup(next);
			if (!cursor)
				return sonde_cli_broken(f->cli, -ENOMEM);
		}
	} while (status == SONDE_CLI_OK && cursor && !f->full);
	return status;
}

/* A report that was lost stays missing: it is waited for no longer than a late one may take. */
static bool is_over(struct follow *f, const json_t *task)
{
	json_int_t missing =
		json_integer_value(json_object_get(json_object_get(task, "reports"), "missing"));
	uint64_t now_ns = sonde_mono_ns();
	enum sonde_task_state s;

	if (sonde_task_state_from_name(sonde_text_of(task, "state"), &s) < 0 ||
	    !sonde_task_state_final(s))
		return false;
	if (missing <= 0)
		return true;
	if (f->final_ns == 0)
		f->final_ns = now_ns;
	if (now_ns - f->final_ns < LAST_REPORT_NS)
		return false;
	sonde_cli_note(f->cli, "%" JSON_INTEGER_FORMAT " report%s missing: connections may be too",
		       missing, missing == 1 ? " is" : "s are");
	return true;
}

static int has_ended(struct follow *f, bool *ret)
{
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT;
	int status = sonde_cli_get_task(f->cli, f->cli->operands[0], "", &task);

	*ret = status == SONDE_CLI_OK && is_over(f, task.json);
	return status;
}

static int follow(struct follow *f, uint64_t every_ns, struct sonde_signals *signals)
{
	const char *state = sonde_cli_flag(f->cli, "state");
	bool ended;
	int status;

	for (;;) {
		/* before the look, so that none that came in between is missed */
		status = has_ended(f, &ended);
		if (status == SONDE_CLI_OK)
			status = look(f, state ? state : ended ? NULL : "ended");
		if (status != SONDE_CLI_OK || ended || ferror(f->cli->out))
			return status;
		sonde_signals_wait(signals, (int)(every_ns / SONDE_NS_PER_MS));
		if (sonde_signals_look(signals))
			return signals->terminated ? SONDE_CLI_SIGTERM : SONDE_CLI_SIGINT;
	}
}

int sonde_flows_follow(struct sonde_cli *cli)
{
	static const char *const others[] = {"sort", "limit", "cursor"};
	_cleanup_signals_ struct sonde_signals signals = SONDE_SIGNALS_NONE;
	struct follow f = {.cli = cli};
	uint64_t every_ns = 0;
	int status, r;

	for (size_t i = 0; i < ELEMENTS_OF(others); i++) {
		if (sonde_cli_flag(cli, others[i]))
			return sonde_cli_fail(cli, SONDE_CLI_USAGE,
					      "--%s and --follow exclude each other", others[i]);
	}
	status = sonde_cli_watch_every(cli, &every_ns);
	if (status != 0)
		return status;
	r = sonde_signals_watch(&signals);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	f.seen = json_object();
	status = f.seen ? follow(&f, every_ns, &signals) : sonde_cli_broken(cli, -ENOMEM);
	json_decref(f.seen);
	return status;
}
