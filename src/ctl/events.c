/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/events.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/nesting.h"
#include "ctl/fetch.h"
#include "ctl/sse.h"

#define AGAIN_MS 1000
#define AWAY_MAX 60 /* tries in a row */
#define ENOUGH 1    /* of on_event(): no more events are wanted */

struct follow {
	const struct sonde_events *e;
	uint64_t start_ns;
	bool ended;
	bool seen; /* some event came: the task is there */
};

static bool is_late(const struct follow *f)
{
	return f->e->timeout_ns > 0 && sonde_mono_ns() - f->start_ns >= f->e->timeout_ns;
}

static bool interrupted(void *ctx)
{
	struct follow *f = ctx;

	return sonde_signals_look(f->e->signals) || is_late(f);
}

static int on_event(void *ctx, const char *event, const char *id, const char *data, size_t len)
{
	struct follow *f = ctx;
	json_auto_t *value = NULL;
	json_error_t error;

	if (!sonde_json_shallow(data, len, SONDE_REST_DEPTH_MAX))
		return -EBADMSG;
	value = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(value))
		return -EBADMSG;
	f->seen = true;
	f->ended = strcmp(event, "end") == 0;
	if (f->e->on_event(f->e->ctx, event, value) != 0)
		f->ended = true;
	return f->ended ? ENOUGH : 0;
}

/* Why a stream was left: a signal, the time, or nothing of both. */
static int why(const struct follow *f)
{
	if (f->e->signals->terminated)
		return SONDE_CLI_SIGTERM;
	if (sonde_signals_look(f->e->signals))
		return SONDE_CLI_SIGINT;
	return is_late(f) ? SONDE_CLI_TIMEOUT : 0;
}

/* Worth another try, once it was there? */
static bool is_away(int r, long status)
{
	return r == -ECONNREFUSED || r == -EPROTO || r == -ETIMEDOUT || (r == 0 && status == 503) ||
	       (r == 0 && status == 200);
}

static int follow(struct follow *f, const char *path)
{
	struct sonde_cli *cli = f->e->cli;
	struct sonde_sse sse = SONDE_SSE_INIT(on_event, f);
	unsigned int away = 0;
	int status;

	for (;;) {
		_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
		bool before = f->seen;
		int r;

		f->seen = false;
		r = sonde_rest_events(cli->rest, path, &sse, &answer);
		away = f->seen ? 0 : away + 1;
		f->seen = f->seen || before;
		status = f->ended || (r == 0 && answer.status == 204) ? 0 : why(f);
		if (f->ended || status != 0 || (r == 0 && answer.status == 204))
			break;
		if (!f->seen || !is_away(r, answer.status) || away > AWAY_MAX) {
			if (r == 0 && answer.status == 200)
				status = sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
							"%s ended the stream",
							sonde_rest_server(cli->rest));
			else
				status = sonde_cli_tell(cli, r, &answer);
			break;
		}
		if (away == 1)
			sonde_cli_note(cli, "%s is away; still trying",
				       sonde_rest_server(cli->rest));
		sonde_signals_wait(f->e->signals, AGAIN_MS);
		status = why(f);
		if (status != 0)
			break;
	}
	sonde_sse_done(&sse);
	return status;
}

int sonde_events_follow(const struct sonde_events *e)
{
	struct follow f = {.e = e, .start_ns = sonde_mono_ns()};
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	int r, status;

	r = sonde_cli_task_path(e->id, "/events", &path);
	if (r < 0)
		return sonde_cli_no_task_path(e->cli, e->id, r);
	sonde_rest_set_interrupted(e->cli->rest, interrupted, &f);
	status = follow(&f, sonde_buf_str(&path));
	sonde_rest_set_interrupted(e->cli->rest, NULL, NULL);
	return status;
}
