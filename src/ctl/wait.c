/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/wait.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/view.h"
#include "model/task.h"

#define LOOK_MS 500	     /* between two looks at the task */
#define LIVE_EVERY 4	     /* looks for one at topology and ledger */
#define LAST_REPORT_LOOKS 10 /* the end is told before the last report's numbers are in */
#define AWAY_LOOKS 120	     /* how long the server may be away once it has answered */

static const char *state_of(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));

	return state ? state : "";
}

static bool is_final(const char *state)
{
	enum sonde_task_state s;

	return sonde_task_state_from_name(state, &s) == 0 && sonde_task_state_final(s);
}

/* Have all reports that the end names arrived? */
static bool reports_in(const json_t *task)
{
	return json_integer_value(json_object_get(json_object_get(task, "reports"), "missing")) <=
	       0;
}

static int signalled(struct sonde_wait *w)
{
	if (!sonde_signals_look(w->signals))
		return 0;
	return w->signals->terminated ? SONDE_CLI_SIGTERM : SONDE_CLI_SIGINT;
}

/* A look that fails costs the numbers of one draw, no more: no words about it. */
static void peek(struct sonde_wait *w, const char *suffix, struct sonde_rest_answer *ret)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);

	if (sonde_cli_task_path(w->id, suffix, &path) < 0)
		return;
	if (sonde_rest_request(w->cli->rest, sonde_buf_str(&path), NULL, ret) < 0 ||
	    ret->status != 200)
		sonde_rest_answer_done(ret);
}

/* A report came since the last look at what it brought. */
static bool has_news(struct sonde_wait *w)
{
	json_int_t received = json_integer_value(
		json_object_get(json_object_get(w->task.json, "reports"), "received"));
	bool news = received != w->received;

	w->received = received;
	return news;
}

static void show(struct sonde_wait *w, unsigned int look)
{
	bool news = has_news(w);

	if (w->live && w->cli->err_tty && !w->cli->quiet && (news || look % LIVE_EVERY == 0)) {
		peek(w, "/topology", &w->topology);
		peek(w, "/ledger", &w->ledger);
	}
	sonde_progress_show(&w->progress, w->task.json, w->topology.json, w->ledger.json,
			    sonde_wall_ms());
}

static bool is_away(int r)
{
	return r == -ECONNREFUSED || r == -EPROTO || r == -ETIMEDOUT;
}

/* One look. Return: 0 = fresh, -EAGAIN = the server is away for now, else an exit status. */
static int look_at_task(struct sonde_wait *w)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	int r, status;

	r = sonde_cli_task_path(w->id, "", &path);
	if (r < 0)
		return sonde_cli_no_task_path(w->cli, w->id, r);
	r = sonde_rest_request(w->cli->rest, sonde_buf_str(&path), NULL, &w->task);
	/* a restart of the server must not end a wait that it has answered once */
	if (is_away(r) && w->task.json && w->away < AWAY_LOOKS) {
		if (w->away++ == 0) {
			sonde_cli_note(w->cli,
				       "%s is away; still trying, %d s at most. Task %s goes on by "
				       "itself",
				       sonde_rest_server(w->cli->rest), AWAY_LOOKS * LOOK_MS / 1000,
				       w->id);
		}
		return -EAGAIN;
	}
	if (r == 0 && w->away > 0)
		sonde_cli_note(w->cli, "%s is back", sonde_rest_server(w->cli->rest));
	if (r == 0)
		w->away = 0;
	if (r == -EINTR) {
		r = signalled(w);
		return r != 0 ? r : SONDE_CLI_SIGINT;
	}
	status = sonde_cli_tell(w->cli, r, &w->task);
	if (is_away(r) && w->task.json) /* it was there: the task is */
		sonde_cli_note(w->cli,
			       "the task goes on at its agent, which keeps its reports. When the "
			       "server is back: sonde task wait %s; then: sonde topology %s",
			       w->id, w->id);
	return status;
}

static bool interrupted(void *ctx)
{
	return sonde_signals_look(ctx);
}

bool sonde_wait_has_data(const json_t *task)
{
	return json_integer_value(json_object_get(json_object_get(task, "reports"), "received")) >
	       0;
}

static bool reached(const struct sonde_wait *w)
{
	if (w->first_data)
		return sonde_wait_has_data(w->task.json);
	return w->state && strcmp(state_of(w->task.json), w->state) == 0;
}

static int wait_loop(struct sonde_wait *w)
{
	uint64_t start_ns = sonde_mono_ns();
	unsigned int after_end = 0;

	for (unsigned int look = 0;; look++) {
		int status = look_at_task(w);

		if (status == 0) {
			show(w, look);
			if (reached(w))
				return 0;
			if (is_final(state_of(w->task.json)) &&
			    (reports_in(w->task.json) || after_end++ >= LAST_REPORT_LOOKS))
				return 0;
		} else if (status != -EAGAIN) {
			return status;
		}
		status = signalled(w);
		if (status != 0)
			return status;
		if (w->timeout_ns > 0 && sonde_mono_ns() - start_ns >= w->timeout_ns)
			return SONDE_CLI_TIMEOUT;
		sonde_signals_wait(w->signals, LOOK_MS);
		status = signalled(w);
		if (status != 0)
			return status;
	}
}

void sonde_wait_done(struct sonde_wait *w)
{
	sonde_rest_answer_done(&w->task);
	sonde_rest_answer_done(&w->topology);
	sonde_rest_answer_done(&w->ledger);
	sonde_progress_done(&w->progress);
}

int sonde_wait_run(struct sonde_wait *w)
{
	int status;

	sonde_rest_set_interrupted(w->cli->rest, interrupted, w->signals);
	status = wait_loop(w);
	sonde_rest_set_interrupted(w->cli->rest, NULL, NULL);
	sonde_progress_clear(&w->progress);
	return status;
}

int sonde_wait_read_timeout(struct sonde_cli *cli, uint64_t *ret_ns)
{
	const char *text = sonde_cli_flag(cli, "timeout");

	*ret_ns = 0;
	if (text && (sonde_parse_duration_ns(text, ret_ns) < 0 || *ret_ns == 0))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--timeout: expected a duration such as 2m, got '%.64s'",
				      text);
	return 0;
}

int sonde_wait_verdict(struct sonde_cli *cli, const json_t *task)
{
	const char *reason = json_string_value(json_object_get(task, "reason"));
	const char *code = json_string_value(json_object_get(task, "reason_code"));
	const char *id = json_string_value(json_object_get(task, "id"));
	const char *state = state_of(task);
	enum sonde_task_state s;
	int status;

	if (sonde_task_state_from_name(state, &s) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "task %s: unknown state '%s'",
				      id ? id : "?", state);
	switch (s) {
	case SONDE_TASK_REFUSED:
		status = code && strcmp(code, SONDE_TASK_CODE_NO_TARGET) == 0 ? SONDE_CLI_NOT_FOUND
									      : SONDE_CLI_REFUSED;
		break;
	case SONDE_TASK_EXPIRED:
		status = SONDE_CLI_TIMEOUT;
		break;
	case SONDE_TASK_FAILED:
		status = code && strcmp(code, SONDE_TASK_CODE_BPF_REFUSED) == 0
				 ? SONDE_CLI_UNSUPPORTED
				 : SONDE_CLI_INTERNAL;
		break;
	case SONDE_TASK_STOPPED: /* by a person: as asked; by a limit: not the whole answer */
		if (!code || strcmp(code, SONDE_TASK_CODE_BUDGET) != 0)
			return 0;
		status = SONDE_CLI_NO;
		break;
	default:
		return 0;
	}
	return sonde_cli_fail(cli, status, "task %s %s%s%s", id ? id : "?", state,
			      reason && *reason ? ": " : "", reason ? reason : "");
}

static int parse_max_loss(struct sonde_cli *cli, const char *text, uint64_t *ret)
{
	if (sonde_parse_u64(text, 0, INT64_MAX, ret) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--max-loss: expected a whole number, got '%.64s'", text);
	return 0;
}

int sonde_wait_check_flag(struct sonde_cli *cli)
{
	const char *text = sonde_cli_flag(cli, "max-loss");
	uint64_t max;

	return text ? parse_max_loss(cli, text, &max) : 0;
}

int sonde_wait_check_loss(struct sonde_cli *cli, const json_t *ledger)
{
	const char *text = sonde_cli_flag(cli, "max-loss");
	int64_t lost = sonde_view_lost(ledger);
	uint64_t max;
	int status;

	if (!text)
		return 0;
	status = parse_max_loss(cli, text, &max);
	if (status != 0)
		return status;
	if (lost < 0)
		return sonde_cli_fail(cli, SONDE_CLI_LOSS,
				      "reports are missing: how much was lost is not known");
	if ((uint64_t)lost > max)
		return sonde_cli_fail(cli, SONDE_CLI_LOSS,
				      "%lld entries were lost, --max-loss allows %s",
				      (long long)lost, text);
	return 0;
}
