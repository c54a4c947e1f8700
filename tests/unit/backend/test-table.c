/* SPDX-License-Identifier: Apache-2.0 */
#include "backend-fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "backend/json.h"
#include "backend/tasks/table.h"

#define T0 1700000000000
#define AGAIN_MAX (SONDE_STORE_JOBS_MAX / 8) /* table.c's */
#define MANY (2 * AGAIN_MAX + 10)

struct rig {
	struct fixture f; /* first: the fixture's own functions take it */
	struct sonde_registry *registry;
	struct sonde_task_table *table;
	struct sonde_problem problem;
	unsigned stops, extensions, ends;
	unsigned max_running; /* 0: 3 */
	int64_t last_end_ms;
};

static void on_control(void *ctx, const struct sonde_task *t, const struct sonde_task_agent *a,
		       int64_t end_ms)
{
	struct rig *rig = ctx;

	rig->stops += end_ms == 0;
	rig->extensions += end_ms != 0;
	rig->last_end_ms = end_ms;
}

static void on_end(void *ctx, struct sonde_task *t, bool forget)
{
	((struct rig *)ctx)->ends += !forget;
}

static void rig_open(struct rig *rig)
{
	struct sonde_task_table_config config = {
		.max_duration_ms = 60000,
		.grace_ms = 30000,
		.silent_ms = 60000,
		.retention_ms = 100000,
		.max_running = rig->max_running ? rig->max_running : 3,
		.on_control = on_control,
		.on_end = on_end,
		.ctx = rig,
	};

	fixture_open(&rig->f);
	assert_ok(sonde_registry_new(rig->f.store, &rig->registry));
	config.store = rig->f.store;
	config.registry = rig->registry;
	assert_ok(sonde_task_table_new(&config, &rig->table));
}

static void rig_close(struct rig *rig)
{
	rig->table = sonde_task_table_free(rig->table);
	rig->registry = sonde_registry_free(rig->registry);
	fixture_close(&rig->f);
}

static int setup(void **state)
{
	struct rig *rig;

	if (fixture_setup(state) < 0)
		return -1;
	rig = realloc(*state, sizeof(*rig));
	if (!rig)
		return -1;
	memset((char *)rig + sizeof(rig->f), 0, sizeof(*rig) - sizeof(rig->f));
	*state = rig;
	rig_open(rig);
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	return fixture_teardown(state);
}

static void report(struct rig *rig, const char *agent, const char *service, int32_t pid)
{
	const struct sonde_process_report in = {
		.service = service, .instance = "i", .name = "n", .pid = pid};
	const struct sonde_process *p;
	struct sonde_agent *a;

	assert_ok(sonde_registry_see_agent(rig->registry, agent, T0, &a));
	assert_ok(sonde_registry_report(rig->registry, a, &in, T0, &p));
	sonde_task_table_process_came(rig->table, p, T0);
}

static int create(struct rig *rig, const char *targets, struct sonde_task **ret)
{
	_cleanup_json_ json_t *body = json_pack("{s:i, s:o}", "durationMs", 10000, "targets",
						json_loads(targets, 0, NULL));

	memset(&rig->problem, 0, sizeof(rig->problem));
	return sonde_task_table_create(rig->table, body, T0, NULL, NULL, ret, &rig->problem);
}

static int count(void *ctx, struct sonde_task *t, struct sonde_task_agent *a)
{
	int64_t *update_ms = ctx;

	*update_ms = a->update_ms;
	return 0;
}

/* TaskUpdateTime of the one task that is handed out, 0 if none is. */
static int64_t query(struct rig *rig, const char *agent, int64_t latest_ms)
{
	int64_t update_ms = 0;

	assert_ok(
		sonde_task_table_hand_out(rig->table, agent, latest_ms, T0 + 1, count, &update_ms));
	return update_ms;
}

static void goes_to_the_agents_that_have_the_targets(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	report(rig, "b", "db", 2);
	report(rig, "c", "web", 3);
	assert_ok(create(rig, "[{\"service\":\"web\"}]", &t));
	assert_int_equal(t->n_agents, 2);
	assert_true(query(rig, "a", 0) > 0);
	assert_int_equal(query(rig, "b", 0), 0);
	assert_true(query(rig, "c", 0) > 0);
}

static void is_handed_out_once_by_its_update_time(void **state)
{
	struct rig *rig = *state;
	int64_t first, second;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	first = query(rig, "a", 0);
	assert_int_equal(query(rig, "a", first), 0);
	assert_true(query(rig, "a", first - 1) == first);
	/* two tasks of the same millisecond are still told apart */
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	second = query(rig, "a", first);
	assert_true(second > first);
}

static void says_who_is_unknown(void **state)
{
	struct sonde_task *t = NULL;
	struct rig *rig = *state;

	report(rig, "a", "web", 1);
	report(rig, "b", "web", 1);
	assert_err(create(rig, "[{\"service\":\"nope\"}]", &t), EINVAL);
	assert_int_equal(rig->problem.status, 404);
	assert_string_equal(rig->problem.field, "targets[0].service");
	assert_err(create(rig, "[{\"pid\":1,\"agentId\":\"nope\"}]", &t), EINVAL);
	assert_int_equal(rig->problem.status, 404);
	assert_string_equal(rig->problem.field, "targets[0].agentId");
	assert_err(create(rig, "[{\"pid\":99}]", &t), EINVAL);
	assert_int_equal(rig->problem.status, 404);
	assert_err(create(rig, "[{\"pid\":1}]", &t), EINVAL); /* on two agents */
	assert_int_equal(rig->problem.status, 400);
	assert_string_equal(rig->problem.field, "targets[0].pid");
	assert_null(t);
	assert_null(sonde_task_table_first(rig->table));
}

static void an_unregistered_target_goes_to_the_agent_that_is_named(void **state)
{
	struct sonde_task_share share;
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	report(rig, "b", "web", 2);
	assert_ok(create(rig, "[{\"pid\":4242,\"agentId\":\"b\"}]", &t));
	assert_int_equal(t->n_agents, 1);
	assert_string_equal(t->agents[0]->id, "b");
	share = (struct sonde_task_share){rig->table, t, "b"};
	assert_true(sonde_task_share_keeps(&share, &t->spec->targets[0]));
	share.agent_id = "a";
	assert_false(sonde_task_share_keeps(&share, &t->spec->targets[0]));
}

/* The agent was started again under another id: its processes of before are no reason to keep a pid from it. */
static void a_pid_that_an_agent_had_that_left_goes_to_the_one_that_is_there(void **state)
{
	const struct sonde_process_report in = {
		.service = "python3", .instance = "i", .name = "n", .pid = 7};
	const struct sonde_process *p;
	struct sonde_task_share share;
	struct rig *rig = *state;
	struct sonde_agent *left;
	struct sonde_task *t;

	assert_ok(sonde_registry_see_agent(rig->registry, "left", T0 - 3600000, &left));
	assert_ok(sonde_registry_report(rig->registry, left, &in, T0 - 3600000, &p));
	report(rig, "here", "web", 1);
	assert_ok(create(rig, "[{\"pid\":1}, {\"pid\":7}]", &t));
	assert_int_equal(t->n_agents, 1);
	assert_string_equal(t->agents[0]->id, "here");
	share = (struct sonde_task_share){rig->table, t, "here"};
	assert_true(sonde_task_share_keeps(&share, &t->spec->targets[0]));
	assert_true(sonde_task_share_keeps(&share, &t->spec->targets[1]));
	/* but not where another agent of the task has it */
	report(rig, "other", "db", 9);
	assert_ok(create(rig, "[{\"pid\":1}, {\"pid\":9}]", &t));
	assert_int_equal(t->n_agents, 2);
	share.task = t;
	assert_false(sonde_task_share_keeps(&share, &t->spec->targets[1]));
}

static void a_process_that_comes_later_brings_its_agent_in(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	assert_ok(create(rig, "[{\"service\":\"web\"}]", &t));
	report(rig, "b", "web", 2);
	assert_int_equal(t->n_agents, 2);
	assert_true(query(rig, "b", 0) > 0);
}

static void a_restart_keeps_tasks_and_never_repeats_an_update_time(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;
	int64_t before;
	char id[SONDE_TASK_ID_MAX];

	report(rig, "a", "web", 1);
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	memcpy(id, t->spec->id, sizeof(id));
	before = query(rig, "a", 0);
	sonde_registry_tick(rig->registry, T0, 1000000);
	sonde_store_flush(rig->f.store);
	rig_close(rig);
	rig_open(rig);
	t = sonde_task_table_find(rig->table, id);
	assert_non_null(t);
	assert_int_equal(t->agents[0]->handed_out_ms, T0 + 1);
	assert_int_equal(query(rig, "a", 0), before);
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	assert_true(t->agents[0]->update_ms > before);
}

static void tells_agents_of_stop_and_extension(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	(void)query(rig, "a", 0);
	assert_err(sonde_task_table_extend(rig->table, t, T0, 60000, &rig->problem), EINVAL);
	assert_string_equal(rig->problem.field, "duration_ms");
	assert_err(sonde_task_table_extend(rig->table, t, T0, -1, &rig->problem), EINVAL);
	assert_ok(sonde_task_table_extend(rig->table, t, T0, 5000, &rig->problem));
	assert_int_equal(rig->extensions, 1);
	/* from when the agent got it, which is a millisecond after it was made */
	assert_int_equal(rig->last_end_ms, T0 + 1 + 15000);
	assert_ok(sonde_task_table_stop(rig->table, t, T0, "enough", &rig->problem));
	assert_int_equal(rig->stops, 1);
	assert_err(sonde_task_table_extend(rig->table, t, T0, 5000, &rig->problem), EINVAL);
	assert_int_equal(rig->problem.status, 409);
}

static void ends_by_itself_and_is_forgotten_by_age(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	assert_ok(create(rig, "[{\"pid\":1}]", &t));
	sonde_task_table_tick(rig->table, T0 + 40001);
	assert_int_equal(t->state, SONDE_TASK_EXPIRED);
	assert_int_equal(rig->ends, 1);
	assert_int_equal(sonde_task_table_running(rig->table), 0);
	sonde_task_table_tick(rig->table, T0 + 40001 + 100001);
	assert_null(sonde_task_table_first(rig->table));
}

static void refuses_more_than_may_run(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;

	report(rig, "a", "web", 1);
	for (unsigned i = 0; i < 3; i++)
		assert_ok(create(rig, "[{\"pid\":1}]", &t));
	assert_err(create(rig, "[{\"pid\":1}]", &t), EINVAL);
	assert_int_equal(rig->problem.status, 503);
}

/* All but the last of them waits while somebody else holds the file. */
static void fill_queue(struct rig *rig)
{
	int r = 0;

	while (r == 0) {
		_cleanup_(sonde_store_job_freep) struct sonde_store_job *j = sonde_store_job_new();

		r = sonde_store_submit(rig->f.store, &j, NULL, NULL);
	}
	assert_int_equal(r, -ENOBUFS);
}

static unsigned count_unwritten(struct rig *rig)
{
	unsigned n = 0;

	for (struct sonde_task *t = sonde_task_table_first(rig->table); t; t = t->hh.next)
		n += t->unwritten;
	return n;
}

static uint64_t jobs_so_far(struct rig *rig)
{
	struct sonde_store_stats stats;

	sonde_store_flush(rig->f.store);
	sonde_store_get_stats(rig->f.store, &stats);
	return stats.jobs;
}

static int is_handed_out(void *ctx, const struct sonde_store_row *row)
{
	*(unsigned *)ctx += strstr(sonde_store_row_text(row, 4), "\"handed_out_ms\":0") == NULL;
	return 0;
}

static void what_found_no_room_is_written_later_a_few_at_a_time(void **state)
{
	struct rig *rig = *state;
	struct sonde_task *t;
	sqlite3 *other = NULL;
	unsigned stored = 0;
	uint64_t before;

	rig_close(rig);
	rig->max_running = MANY;
	rig_open(rig);
	report(rig, "a", "web", 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_ok(create(rig, "[{\"pid\":1}]", &t));
	sonde_store_flush(rig->f.store);
	assert_int_equal(sqlite3_open(rig->f.path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	fill_queue(rig);
	(void)query(rig, "a", 0);
	assert_int_equal(count_unwritten(rig), MANY);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
	for (unsigned left = MANY; left > 0; left -= left < AGAIN_MAX ? left : AGAIN_MAX) {
		assert_int_equal(count_unwritten(rig), left);
		before = jobs_so_far(rig);
		sonde_task_table_tick(rig->table, T0 + 2);
		assert_true(jobs_so_far(rig) - before <= AGAIN_MAX);
	}
	assert_int_equal(count_unwritten(rig), 0);
	before = jobs_so_far(rig);
	sonde_task_table_tick(rig->table, T0 + 2);
	assert_int_equal(jobs_so_far(rig), before);
	assert_ok(sonde_store_query(rig->f.store, SONDE_STORE_GET_TASKS, NULL, is_handed_out,
				    &stored));
	assert_int_equal(stored, MANY);
}

int main(void)
{
#define with_rig(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		with_rig(goes_to_the_agents_that_have_the_targets),
		with_rig(is_handed_out_once_by_its_update_time),
		with_rig(says_who_is_unknown),
		with_rig(an_unregistered_target_goes_to_the_agent_that_is_named),
		with_rig(a_pid_that_an_agent_had_that_left_goes_to_the_one_that_is_there),
		with_rig(a_process_that_comes_later_brings_its_agent_in),
		with_rig(a_restart_keeps_tasks_and_never_repeats_an_update_time),
		with_rig(tells_agents_of_stop_and_extension),
		with_rig(ends_by_itself_and_is_forgotten_by_age),
		with_rig(refuses_more_than_may_run),
		with_rig(what_found_no_room_is_written_later_a_few_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
