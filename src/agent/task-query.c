/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/task-query.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/backend-clock.h"
#include "agent/rpc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "skywalking/v3/profile.pb-c.h"
#include "wire/message.h"

#define FIRST_NS                                                                                   \
	(200 * SONDE_NS_PER_MS) /* behind the first heartbeat: a server knows the agent then */
#define SOON_MIN_NS (250 * SONDE_NS_PER_MS) /* between two queries that the server asks for */
#define TOLD_MAX 256			    /* commands of which was said that they are not run */

/*
 * An OAP tells what changed later than a time that is asked for, but several OAPs each write their own clock's
 * time, and a row may be seen later than its time: asked is for ten minutes more, which is what a network task
 * lasts. What comes again is known by its id.
 */
#define OVERLAP_MS (600 * 1000)

/* An OAP knows a process only when its row is stored, 25 s after the report by default. */
#define STORED_NS (60 * SONDE_NS_PER_S)

struct sonde_task_query {
	struct sonde_task_query_config config;
	sd_event_source *timer;
	struct sonde_backend_clock clock;
	int64_t latest_ms; /* largest TaskUpdateTime of a command that was judged */
	int64_t asked_ms;  /* when the last query was sent */
	int64_t answered_ms; /* the same, of the last that was answered; 0: of none that proves anything */
	bool too_many; /* commands in the answer that is being taken, to know which of them are new */
	uint64_t asked_ns, answered_ns;
	uint64_t *due; /* hashes of ids, sorted; of the answer that is being taken, once @listed */
	size_t n_due;
	uint64_t told[TOLD_MAX]; /* hashes */
	size_t told_at;
	bool listed;
	bool polling; /* a query is under way */
	bool again;   /* the server asked for another meanwhile */
	bool said;    /* that the backend does not answer */
	bool stopped;
};

/* False: it was said before. */
static bool tell_once(struct sonde_task_query *q, const char *id)
{
	uint64_t h = sonde_hash(id, strlen(id), 0);

	for (size_t i = 0; i < TOLD_MAX; i++) {
		if (q->told[i] == h)
			return false;
	}
	q->told[q->told_at] = h;
	q->told_at = (q->told_at + 1) % TOLD_MAX;
	return true;
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Processes that the backend knew long before the last answer. Where memory ends there are fewer, and less is proved. */
static void list_due(struct sonde_task_query *q)
{
	size_t cursor = 0, room = 0;
	struct sonde_process *p;

	q->listed = true;
	while ((p = sonde_finder_next(q->config.finder, &cursor))) {
		uint64_t *more;

		if (!p->id[0] || p->id_mono_ns + STORED_NS > q->answered_ns)
			continue;
		if (q->n_due == room) {
			room = room ? room * 2 : 64;
			more = reallocarray(q->due, room, sizeof(q->due[0]));
			if (!more)
				break;
			q->due = more;
		}
		q->due[q->n_due++] = sonde_hash(p->id, strlen(p->id), 0);
	}
	if (q->n_due)
		qsort(q->due, q->n_due, sizeof(q->due[0]), compare_hashes);
}

static void forget_due(struct sonde_task_query *q)
{
	free(q->due);
	q->due = NULL;
	q->n_due = 0;
	q->listed = false;
}

/* Would the last answer have told the task, had it been there: did the backend know one of its processes long before? */
static bool was_due(struct sonde_task_query *q, const struct sonde_spec *spec)
{
	if (!q->answered_ms)
		return false;
	if (!q->listed)
		list_due(q);
	for (size_t i = 0; q->n_due && i < spec->n_targets; i++) {
		const char *id = spec->targets[i].text;
		const uint64_t h = sonde_hash(id, strlen(id), 0);

		if (bsearch(&h, q->due, q->n_due, sizeof(h), compare_hashes))
			return true;
	}
	return false;
}

/* What the command proves of the backend's clock, if this change of the task was never told before. */
static void learn_clock(struct sonde_task_query *q, const struct sonde_spec *spec, int64_t now_ms)
{
	const uint64_t change = sonde_hash(spec->id, strlen(spec->id), (uint64_t)spec->update_ms);

	if (q->too_many || !sonde_backend_clock_is_new(&q->clock, change))
		return;
	sonde_backend_clock_saw(&q->clock, change, spec->update_ms,
				was_due(q, spec) ? q->answered_ms : 0, now_ms);
}

/* An OAP's times become this machine's. */
static void set_times(struct sonde_task_query *q, struct sonde_spec *spec, int64_t now_ms)
{
	const int64_t before = sonde_backend_clock_ahead_ms(&q->clock);
	int64_t after;

	learn_clock(q, spec, now_ms);
	after = sonde_backend_clock_ahead_ms(&q->clock);
	if (after != before && (after > before + 1000 || after < before - 1000))
		sonde_log_info("the backend's clock is at least %lld ms %s of this machine's: its "
			       "tasks' times are read so",
			       (long long)(after < 0 ? -after : after),
			       after < 0 ? "behind" : "ahead");
	if (spec->start_wall_ms)
		spec->start_wall_ms = sonde_backend_clock_local_ms(&q->clock, spec->start_wall_ms);
}

/* Of an OAP, which hands out all tasks that it still has. */
static void take_plain(struct sonde_task_query *q, struct sonde_spec *spec, int64_t now_ms,
		       unsigned *over)
{
	spec->report_interval_ms = q->config.plain_interval_ms;
	set_times(q, spec, now_ms);
	if (spec->start_wall_ms + spec->duration_ms <= now_ms) {
		*over += !sonde_tasks_knows(q->config.tasks, spec->id) && tell_once(q, spec->id);
		return;
	}
	sonde_tasks_accept(q->config.tasks, spec);
}

/* What taking an answer comes to. */
struct taken {
	int64_t latest_ms; /* largest TaskUpdateTime */
	unsigned over;	   /* tasks that were, and were not told of before */
	bool again;	   /* there was no memory for one of them */
};

static void take_command(struct sonde_task_query *q, const Skywalking__V3__Command *c,
			 int64_t now_ms, struct taken *taken)
{
	_cleanup_(sonde_spec_done) struct sonde_spec spec = {0};
	char words[SONDE_SPEC_WORDS_MAX] = "";
	int r;

	r = sonde_spec_from_command(c, &spec, words);
	if (spec.update_ms > taken->latest_ms)
		taken->latest_ms = spec.update_ms;
	taken->again |= r == -ENOMEM;
	if (r == 0 && spec.plain)
		take_plain(q, &spec, now_ms, &taken->over);
	else if (r == 0)
		sonde_tasks_accept(q->config.tasks, &spec);
	else if (r == -EINVAL)
		sonde_tasks_refuse(q->config.tasks, &spec, words);
	else if (r == -EOPNOTSUPP && words[0] && tell_once(q, spec.id))
		(void)sonde_log_warn(0, "task %s is not run: %s", spec.id, words);
	else if (r != -EOPNOTSUPP)
		(void)sonde_log_warn(r, "a task could not be taken, asking again");
}

static void take_commands(struct sonde_task_query *q, const Skywalking__V3__Commands *commands)
{
	const int64_t now_ms = sonde_wall_ms();
	struct taken taken = {0};

	q->too_many = commands->n_commands > SONDE_BACKEND_CLOCK_SEEN_MAX;
	for (size_t i = 0; i < commands->n_commands; i++)
		take_command(q, commands->commands[i], now_ms, &taken);
	forget_due(q);
	/* Else what failed would be behind what is asked for. What went well is known when it comes again. */
	if (!taken.again && taken.latest_ms > q->latest_ms)
		q->latest_ms = taken.latest_ms;
	if (taken.over)
		sonde_log_info("%u task%s of the backend's %s over before %s came here: not run",
			       taken.over, taken.over == 1 ? "" : "s",
			       taken.over == 1 ? "was" : "were", taken.over == 1 ? "it" : "they");
	q->answered_ms = q->too_many ? 0 : q->asked_ms;
	q->answered_ns = q->asked_ns;
}

void sonde_task_query_soon(struct sonde_task_query *q)
{
	uint64_t now = sonde_mono_ns(), at;

	assert(q);

	/* The answer on its way may have been made before the task was. */
	q->again = q->polling;
	if (q->polling || q->stopped)
		return;
	at = q->asked_ns + SOON_MIN_NS;
	(void)sd_event_source_set_time(q->timer, (at > now ? at : now) / SONDE_NS_PER_US);
	(void)sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
}

static void on_commands(void *ctx, const struct sonde_grpc_result *result,
			const ProtobufCMessage *answer)
{
	const Skywalking__V3__Commands *commands = (const void *)answer;
	struct sonde_task_query *q = ctx;

	q->polling = false;
	if (result->status != SONDE_GRPC_OK && result->status != SONDE_GRPC_CANCELLED && !q->said)
		(void)sonde_log_warn(0, "cannot ask for tasks: %s %s, trying again",
				     sonde_grpc_status_name(result->status), result->message);
	q->said = result->status != SONDE_GRPC_OK;
	if (commands) {
		take_commands(q, commands);
		q->config.on_answer(q->config.ctx);
	}
	if (q->again)
		sonde_task_query_soon(q);
}

static int64_t since_ms(const struct sonde_task_query *q)
{
	int64_t since = q->latest_ms, now = sonde_wall_ms();

	if (sonde_grpc_client_has_extension(q->config.client))
		return since;
	if (since > now) /* its clock is ahead, and may be set right */
		since = now;
	return since > OVERLAP_MS ? since - OVERLAP_MS : 0;
}

static void ask(struct sonde_task_query *q)
{
	Skywalking__V3__EBPFProfilingTaskQuery m = SKYWALKING__V3__EBPFPROFILING_TASK_QUERY__INIT;

	m.roverinstanceid = sonde_wire_text(q->config.agent_id);
	m.latestupdatetime = since_ms(q);
	q->polling = true;
	q->asked_ns = sonde_mono_ns();
	q->asked_ms = sonde_wall_ms();
	if (sonde_rpc(q->config.client, "/skywalking.v3.EBPFProfilingService/queryTasks", &m.base,
		      &skywalking__v3__commands__descriptor, q->config.deadline_ns, on_commands,
		      q) < 0)
		q->polling = false;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_task_query *q = userdata;

	if (q->stopped)
		return 0;
	if (!q->polling)
		ask(q);
	(void)sd_event_source_set_time_relative(source, q->config.poll_ns / SONDE_NS_PER_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void sonde_task_query_stop(struct sonde_task_query *q)
{
	assert(q);

	q->stopped = true;
}

int sonde_task_query_new(const struct sonde_task_query_config *config,
			 struct sonde_task_query **ret)
{
	_cleanup_(sonde_task_query_freep) struct sonde_task_query *q = NULL;
	int r;

	assert(config && config->finder && config->tasks && config->on_answer && ret);

	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->config = *config;
	r = sd_event_add_time_relative(config->event, &q->timer, CLOCK_MONOTONIC,
				       FIRST_NS / SONDE_NS_PER_US, 0, on_time, q);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(q);
	return 0;
}

struct sonde_task_query *sonde_task_query_free(struct sonde_task_query *q)
{
	if (!q)
		return NULL;
	(void)sd_event_source_disable_unref(q->timer);
	free(q);
	return NULL;
}
