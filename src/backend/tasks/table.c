/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/store/ids.h"
#include "backend/tasks/assign.h"
#include "backend/tasks/spooled.h"
#include "base/clock.h"
#include "base/log.h"

/* Tasks that are written again in one tick: reports have the queue too. */
#define AGAIN_MAX (SONDE_STORE_JOBS_MAX / 8)

struct sonde_task_table {
	struct sonde_task_table_config config;
	struct sonde_task *tasks;
	int64_t last_update_ms; /* TaskUpdateTime only ever grows */
	bool unwritten;		/* at least one task is */
};

struct sonde_task *sonde_task_table_find(struct sonde_task_table *tt, const char *id)
{
	struct sonde_task *t;

	HASH_FIND_STR(tt->tasks, id, t);
	return t;
}

struct sonde_task *sonde_task_table_first(struct sonde_task_table *tt)
{
	return tt->tasks;
}

static void forget(struct sonde_task_table *tt, struct sonde_task *t)
{
	assert(tt->tasks);

	if (tt->config.on_end)
		tt->config.on_end(tt->config.ctx, t, true);
	HASH_DEL(tt->tasks, t);
	(void)sonde_task_free(t);
}

struct sonde_task_table *sonde_task_table_free(struct sonde_task_table *tt)
{
	struct sonde_task *t, *next;

	if (!tt)
		return NULL;
	HASH_ITER (hh, tt->tasks, t, next) {
		HASH_DEL(tt->tasks, t);
		(void)sonde_task_free(t);
	}
	free(tt);
	return NULL;
}

static int64_t next_update_ms(struct sonde_task_table *tt, int64_t now_ms)
{
	tt->last_update_ms = now_ms > tt->last_update_ms ? now_ms : tt->last_update_ms + 1;
	return tt->last_update_ms;
}

int sonde_task_table_put_with(struct sonde_task_table *tt, const struct sonde_task *t,
			      struct sonde_store_job **job, sonde_store_done_fn done, void *ctx)
{
	_cleanup_json_ json_t *doc = sonde_task_document(t);
	_cleanup_free_ char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	int r;

	if (!text)
		return -ENOMEM;
	r = sonde_store_job_add(*job, SONDE_STORE_PUT_TASK, "tiitt", t->spec->id, t->created_ms,
				t->ended_ms, sonde_task_state_name(t->state), text);
	return r < 0 ? r : sonde_store_submit(tt->config.store, job, done, ctx);
}

int sonde_task_table_put(struct sonde_task_table *tt, const struct sonde_task *t,
			 sonde_store_done_fn done, void *ctx)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();

	return job ? sonde_task_table_put_with(tt, t, &job, done, ctx) : -ENOMEM;
}

struct writing {
	struct sonde_task_table *table;
	char id[SONDE_TASK_ID_MAX];
};

/* Told once, until all is written. */
static void set_unwritten(struct sonde_task_table *tt, struct sonde_task *t, int error)
{
	if (!tt->unwritten && !sonde_store_has_told(error))
		(void)sonde_log_warn(error, "cannot write a task to the database, ignoring");
	t->unwritten = true;
	tt->unwritten = true;
}

static void on_put(void *ctx, int error)
{
	_cleanup_free_ struct writing *w = ctx;
	struct sonde_task *t = error < 0 ? sonde_task_table_find(w->table, w->id) : NULL;

	if (t)
		set_unwritten(w->table, t, error);
}

/* Return: 0, or -errno: then a later tick tries again. */
static int put(struct sonde_task_table *tt, struct sonde_task *t)
{
	_cleanup_free_ struct writing *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (w) {
		w->table = tt;
		(void)snprintf(w->id, sizeof(w->id), "%s", t->spec->id);
		r = sonde_task_table_put(tt, t, on_put, w);
	}
	if (r < 0) {
		set_unwritten(tt, t, r);
		return r;
	}
	w = NULL;
	t->unwritten = false;
	return 0;
}

static void write_again(struct sonde_task_table *tt)
{
	bool left = false;
	unsigned n = 0;

	if (!tt->unwritten || sonde_store_check_room(tt->config.store) < 0)
		return;
	for (struct sonde_task *t = tt->tasks; t; t = t->hh.next) {
		if (!t->unwritten)
			continue;
		left = n++ == AGAIN_MAX || put(tt, t) < 0;
		if (left)
			break;
	}
	tt->unwritten = left;
}

void sonde_task_table_ended(struct sonde_task_table *tt, struct sonde_task *t)
{
	if (tt->config.on_end)
		tt->config.on_end(tt->config.ctx, t, false);
}

void sonde_task_table_moved(struct sonde_task_table *tt, struct sonde_task *t)
{
	if (sonde_task_state_final(t->state))
		sonde_task_table_ended(tt, t);
	(void)put(tt, t);
}

static int submit_delete(struct sonde_task_table *tt, const char *id, sonde_store_done_fn done,
			 void *ctx)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	int r = -ENOMEM;

	if (job)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_TASK, "t", id);
	if (r == 0) /* the rest in steps, see ingest/retention.h */
		r = sonde_store_job_add(job, SONDE_STORE_DROP_TASK, "t", id);
	return r < 0 ? r : sonde_store_submit(tt->config.store, &job, done, ctx);
}

static void delete_stored(struct sonde_task_table *tt, const char *id)
{
	int r = submit_delete(tt, id, NULL, NULL);

	if (r < 0)
		(void)sonde_log_warn(r, "cannot delete an old task from the database, ignoring");
}

unsigned sonde_task_table_running(const struct sonde_task_table *tt)
{
	unsigned n = 0;

	for (const struct sonde_task *t = tt->tasks; t; t = t->hh.next)
		n += !sonde_task_state_final(t->state);
	return n;
}

void sonde_task_table_forget(struct sonde_task_table *tt, struct sonde_task *t)
{
	assert(sonde_task_state_final(t->state));

	delete_stored(tt, t->spec->id);
	forget(tt, t);
}

struct sonde_task *sonde_task_table_oldest_ended(struct sonde_task_table *tt)
{
	struct sonde_task *oldest = NULL;

	for (struct sonde_task *t = tt->tasks; t; t = t->hh.next) {
		if (sonde_task_state_final(t->state) && (!oldest || t->ended_ms < oldest->ended_ms))
			oldest = t;
	}
	return oldest;
}

/* Return: 0 when the table has room for one more, if need be by forgetting the oldest. */
static int make_place(struct sonde_task_table *tt, struct sonde_problem *problem)
{
	struct sonde_task *t, *next;
	int room = sonde_store_check_room(tt->config.store);

	if (room < 0)
		return sonde_problem_set(problem, 503, NULL, "the server's %s",
					 room == -ENOSPC ? "disk is full" : "database is damaged");
	if (HASH_COUNT(tt->tasks) < SONDE_TASKS_MAX)
		return 0;
	HASH_ITER (hh, tt->tasks, t, next) {
		if (!sonde_task_state_final(t->state))
			continue;
		sonde_task_table_forget(tt, t);
		return 0;
	}
	return sonde_problem_set(problem, 503, NULL, "no room for another task");
}

/* Return: 0 when there is room for one more. */
static int make_room(struct sonde_task_table *tt, struct sonde_problem *problem)
{
	if (sonde_task_table_running(tt) >= tt->config.max_running)
		return sonde_problem_set(
			problem, 503, NULL,
			"%u tasks are running, which is the most (tasks.max_running)",
			tt->config.max_running);
	return make_place(tt, problem);
}

static int assign_agents(struct sonde_task_table *tt, struct sonde_task *t, int64_t now_ms,
			 struct sonde_problem *problem)
{
	const char *agents[SONDE_TASK_AGENTS_MAX];
	size_t n = 0;
	int r;

	r = sonde_assign(tt->config.registry, t->spec, now_ms, agents, &n, problem);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct sonde_task_agent *a;

		r = sonde_task_add_agent(t, agents[i], &a);
		if (r == 0)
			a->update_ms = next_update_ms(tt, now_ms);
	}
	return r;
}

static void tell_waiting(struct sonde_task_table *tt, const struct sonde_task_agent *a)
{
	if (tt->config.on_waiting && a->handed_out_ms == 0 && !sonde_task_state_final(a->state))
		tt->config.on_waiting(tt->config.ctx, a);
}

void sonde_task_table_announce(struct sonde_task_table *tt, const struct sonde_task *t)
{
	for (size_t i = 0; i < t->n_agents; i++)
		tell_waiting(tt, t->agents[i]);
}

struct creation {
	struct sonde_task_table *table;
	sonde_store_done_fn done;
	void *done_ctx;
	char id[SONDE_TASK_ID_MAX];
};

static void on_created(void *ctx, int error)
{
	struct creation *c = ctx;

	if (error < 0) {
		struct sonde_task *t = sonde_task_table_find(c->table, c->id);

		(void)sonde_log_err(error, "cannot store task %s", c->id);
		if (t)
			forget(c->table, t);
	}
	if (c->done)
		c->done(c->done_ctx, error);
	free(c);
}

/* Who looks at the time line first is to see what the task is for. */
static int set_trigger(struct sonde_task *t, json_t *trigger)
{
	json_t *first = json_array_get(t->states, 0);

	t->trigger = json_incref(trigger);
	return sonde_json_set(first, "words",
			      sonde_json_text(sonde_json_get_text(trigger, "words", "")));
}

int sonde_task_table_create(struct sonde_task_table *tt, const json_t *body, int64_t now_ms,
			    sonde_store_done_fn done, void *done_ctx, struct sonde_task **ret,
			    struct sonde_problem *problem)
{
	return sonde_task_table_create_by(tt, body, NULL, now_ms, done, done_ctx, ret, problem);
}

int sonde_task_table_create_by(struct sonde_task_table *tt, const json_t *body, json_t *trigger,
			       int64_t now_ms, sonde_store_done_fn done, void *done_ctx,
			       struct sonde_task **ret, struct sonde_problem *problem)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	_cleanup_free_ struct creation *c = NULL;
	int r;

	r = sonde_spec_parse(body, now_ms, tt->config.max_duration_ms, false, &spec, problem);
	if (r == 0)
		r = make_room(tt, problem);
	if (r == 0)
		r = sonde_id_random(8, spec->id);
	if (r == 0)
		r = sonde_task_new(&spec, now_ms, &t);
	if (r == 0)
		r = assign_agents(tt, t, now_ms, problem);
	if (r == 0 && trigger)
		r = set_trigger(t, trigger);
	if (r < 0)
		return r;
	assert(t);
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct creation){.table = tt, .done = done, .done_ctx = done_ctx};
	memcpy(c->id, t->spec->id, sizeof(c->id));
	HASH_ADD_KEYPTR(hh, tt->tasks, t->spec->id, strlen(t->spec->id), t);
	if (!SONDE_HASH_ADDED(t))
		return -ENOMEM;
	r = sonde_task_table_put(tt, t, on_created, c);
	if (r < 0) {
		HASH_DEL(tt->tasks, t);
		return r == -ENOBUFS ? sonde_problem_set(problem, 503, NULL,
							 "the database is too busy, try again")
				     : r;
	}
	c = NULL;
	sonde_log_info("task %s accepted: %zu targets, %zu agents", t->spec->id, t->spec->n_targets,
		       t->n_agents);
	*ret = TAKE_PTR(t);
	return 0;
}

/* The table is oldest first. */
static int by_creation(struct sonde_task *a, struct sonde_task *b)
{
	if (a->created_ms != b->created_ms)
		return a->created_ms < b->created_ms ? -1 : 1;
	return strcmp(a->spec->id, b->spec->id);
}

int sonde_task_table_import(struct sonde_task_table *tt, struct sonde_task **t,
			    struct sonde_store_job **job, sonde_store_done_fn done, void *done_ctx,
			    struct sonde_task **ret, struct sonde_problem *problem)
{
	_cleanup_free_ struct creation *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = make_place(tt, problem);
	if (r < 0)
		return r;
	*c = (struct creation){.table = tt, .done = done, .done_ctx = done_ctx};
	memcpy(c->id, (*t)->spec->id, sizeof(c->id));
	HASH_ADD_KEYPTR(hh, tt->tasks, (*t)->spec->id, strlen((*t)->spec->id), *t);
	if (!SONDE_HASH_ADDED(*t))
		return -ENOMEM;
	r = sonde_task_table_put_with(tt, *t, job, on_created, c);
	if (r < 0) {
		HASH_DEL(tt->tasks, *t);
		return r == -ENOBUFS ? sonde_problem_set(problem, 503, NULL,
							 "the database is too busy, try again")
				     : r;
	}
	c = NULL;
	sonde_log_info("task %s imported", (*t)->spec->id);
	*ret = TAKE_PTR(*t);
	HASH_SORT(tt->tasks, by_creation);
	return 0;
}

static int refuse_ended(const struct sonde_task *t, struct sonde_problem *problem)
{
	return sonde_problem_set(problem, 409, NULL, "the task has ended: %s",
				 sonde_task_state_name(t->state));
}

int sonde_task_table_stop(struct sonde_task_table *tt, struct sonde_task *t, int64_t now_ms,
			  const char *reason, struct sonde_problem *problem)
{
	/* To stop what has ended is no error: the wish is fulfilled. */
	if (sonde_task_state_final(t->state))
		return 0;
	sonde_task_stop(t, now_ms, reason);
	for (size_t i = 0; i < t->n_agents; i++) {
		if (!sonde_task_state_final(t->agents[i]->state) && tt->config.on_control)
			tt->config.on_control(tt->config.ctx, t, t->agents[i], 0);
	}
	sonde_task_table_moved(tt, t);
	return 0;
}

int sonde_task_table_delete(struct sonde_task_table *tt, struct sonde_task *t,
			    sonde_store_done_fn done, void *ctx, struct sonde_problem *problem)
{
	int r;

	if (!sonde_task_state_final(t->state))
		return sonde_problem_set(problem, 409, NULL, "the task goes on (%s): stop it first",
					 sonde_task_state_name(t->state));
	r = submit_delete(tt, t->spec->id, done, ctx);
	if (r == -ENOBUFS)
		return sonde_problem_set(problem, 503, NULL, "the database is behind, try again");
	if (r < 0)
		return r;
	forget(tt, t);
	return 0;
}

int sonde_task_table_extend(struct sonde_task_table *tt, struct sonde_task *t, int64_t now_ms,
			    int64_t more_ms, struct sonde_problem *problem)
{
	int64_t total;

	if (sonde_task_state_final(t->state))
		return refuse_ended(t, problem);
	if (t->stop_asked)
		return sonde_problem_set(problem, 409, NULL, "the task is being stopped");
	if (more_ms < 1 || __builtin_add_overflow(t->spec->duration_ms, more_ms, &total) ||
	    total > tt->config.max_duration_ms) {
		return sonde_problem_set(
			problem, 400, "duration_ms",
			"duration_ms: must be 1 to %lld, so that the task lasts at most %lld ms",
			(long long)(tt->config.max_duration_ms - t->spec->duration_ms),
			(long long)tt->config.max_duration_ms);
	}
	t->spec->duration_ms = total;
	t->extended = true;
	for (size_t i = 0; i < t->n_agents; i++) {
		struct sonde_task_agent *a = t->agents[i];

		if (sonde_task_state_final(a->state))
			continue;
		/* An agent without a watch learns it from its next query. */
		a->update_ms = next_update_ms(tt, now_ms);
		if (tt->config.on_control)
			tt->config.on_control(tt->config.ctx, t, a, sonde_task_agent_end_ms(t, a));
	}
	(void)put(tt, t);
	return 0;
}

bool sonde_task_share_keeps(void *ctx, const struct sonde_spec_target *target)
{
	const struct sonde_task_share *share = ctx;
	const char *agents[SONDE_TASK_AGENTS_MAX];
	const struct sonde_task *t = share->task;

	for (size_t i = 0; i < t->n_agents; i++)
		agents[i] = t->agents[i]->id;
	return sonde_assign_concerns(share->table->config.registry, agents, t->n_agents, target,
				     share->agent_id);
}

int sonde_task_table_hand_out(
	struct sonde_task_table *tt, const char *agent_id, int64_t latest_update_ms, int64_t now_ms,
	int (*fn)(void *ctx, struct sonde_task *t, struct sonde_task_agent *a), void *ctx)
{
	int r = 0;

	for (struct sonde_task *t = tt->tasks; t && r == 0; t = t->hh.next) {
		struct sonde_task_agent *a = sonde_task_find_agent(t, agent_id);

		if (!a || sonde_task_state_final(a->state) || a->update_ms <= latest_update_ms ||
		    t->stop_asked || now_ms > sonde_task_take_until_ms(t, a, tt->config.grace_ms))
			continue;
		r = fn(ctx, t, a);
		if (r == 0 && a->handed_out_ms == 0) {
			a->handed_out_ms = now_ms;
			(void)put(tt, t);
		}
	}
	return r;
}

void sonde_task_table_process_came(struct sonde_task_table *tt, const struct sonde_process *p,
				   int64_t now_ms)
{
	for (struct sonde_task *t = tt->tasks; t; t = t->hh.next) {
		struct sonde_task_agent *a;

		if (sonde_task_state_final(t->state) || t->stop_asked ||
		    sonde_task_find_agent(t, p->agent->id) || now_ms > sonde_task_end_ms(t))
			continue;
		for (size_t i = 0; i < t->spec->n_targets; i++) {
			if (!sonde_process_matches(p, &t->spec->targets[i]) ||
			    t->spec->targets[i].pid != 0)
				continue;
			if (sonde_task_add_agent(t, p->agent->id, &a) == 0) {
				a->update_ms = next_update_ms(tt, now_ms);
				(void)put(tt, t);
				tell_waiting(tt, a);
			}
			break;
		}
	}
}

static int64_t agent_seen_ms(void *ctx, const char *agent_id)
{
	struct sonde_task_table *tt = ctx;
	struct sonde_agent *a = sonde_registry_find_agent(tt->config.registry, agent_id);

	return a ? a->last_seen_ms : 0;
}

static bool agent_left(void *ctx, const char *agent_id)
{
	struct sonde_task_table *tt = ctx;
	struct sonde_agent *a = sonde_registry_find_agent(tt->config.registry, agent_id);

	return a && sonde_agent_left(a);
}

static bool agent_holds(void *ctx, const char *agent_id)
{
	struct sonde_task_table *tt = ctx;
	struct sonde_agent *a = sonde_registry_find_agent(tt->config.registry, agent_id);

	return a && sonde_agent_spooled(a, sonde_wall_ms()) > 0;
}

void sonde_task_table_tick(struct sonde_task_table *tt, int64_t now_ms)
{
	const struct sonde_task_clock clock = {
		.now_ms = now_ms,
		.grace_ms = tt->config.grace_ms,
		.silent_ms = tt->config.silent_ms,
		.since_ms = tt->config.since_ms,
		.agent_seen_ms = agent_seen_ms,
		.agent_left = agent_left,
		.agent_holds = agent_holds,
		.ctx = tt,
	};
	struct sonde_task *t, *next;

	write_again(tt);
	HASH_ITER (hh, tt->tasks, t, next) {
		if (sonde_task_state_final(t->state)) {
			int64_t since_ms =
				t->imported_ms > t->ended_ms ? t->imported_ms : t->ended_ms;

			if (now_ms - since_ms > tt->config.retention_ms) {
				sonde_task_table_forget(tt, t);
			}
		} else if (sonde_task_tick(t, &clock) > 0) {
			sonde_log_info("task %s: %s: %s", t->spec->id,
				       sonde_task_state_name(t->state), t->reason);
			sonde_task_table_moved(tt, t);
		}
	}
}

static int load_task(void *ctx, const struct sonde_store_row *row)
{
	const char *text = sonde_store_row_text(row, 4), *id = sonde_store_row_text(row, 0);
	_cleanup_(sonde_task_freep) struct sonde_task *t = NULL;
	_cleanup_json_ json_t *doc = NULL;
	struct sonde_task_table *tt = ctx;
	char words[160] = "";
	int line, r;

	r = sonde_json_parse(text, strlen(text), &doc, &line, words);
	if (r == 0)
		r = sonde_task_from_document(doc, &t);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !t || strcmp(t->spec->id, id) != 0 || sonde_task_table_find(tt, id)) {
		(void)sonde_log_warn(r < 0 ? r : -EBADMSG,
				     "task %s in the database is damaged, ignoring", id);
		return 0;
	}
	for (size_t i = 0; i < t->n_agents; i++) {
		if (t->agents[i]->update_ms > tt->last_update_ms)
			tt->last_update_ms = t->agents[i]->update_ms;
	}
	HASH_ADD_KEYPTR(hh, tt->tasks, t->spec->id, strlen(t->spec->id), t);
	if (!SONDE_HASH_ADDED(t))
		return -ENOMEM;
	t = NULL;
	return 0;
}

int sonde_task_table_new(const struct sonde_task_table_config *config,
			 struct sonde_task_table **ret)
{
	_cleanup_(sonde_task_table_freep) struct sonde_task_table *tt = calloc(1, sizeof(*tt));
	int r;

	if (!tt)
		return -ENOMEM;
	tt->config = *config;
	r = sonde_store_query(config->store, SONDE_STORE_GET_TASKS, NULL, load_task, tt);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(tt);
	return 0;
}
