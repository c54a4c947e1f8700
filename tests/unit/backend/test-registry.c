/* SPDX-License-Identifier: Apache-2.0 */
#include "backend-fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "backend/json.h"
#include "backend/tasks/registry.h"

#define T0 1700000000000

static const struct sonde_process *report(struct sonde_registry *r, const char *agent,
					  const char *service, const char *name, int32_t pid,
					  int64_t now_ms)
{
	const struct sonde_process_report in = {
		.layer = "GENERAL", .service = service, .instance = "i", .name = name, .pid = pid};
	const struct sonde_process *p = NULL;
	struct sonde_agent *a = NULL;

	assert_ok(sonde_registry_see_agent(r, agent, now_ms, &a));
	assert_ok(sonde_registry_report(r, a, &in, now_ms, &p));
	return p;
}

static void survives_a_restart_with_names(void **state)
{
	struct sonde_registry *r = NULL;
	struct fixture *f = *state;
	const struct sonde_process *p;
	char id[SONDE_MAL_PROCESS_ID_SIZE];

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	p = report(r, "a", "web", "nginx", 7, T0);
	memcpy(id, p->process_id, sizeof(id));
	sonde_registry_tick(r, T0, 1000000);
	sonde_store_flush(f->store);
	r = sonde_registry_free(r);
	assert_ok(sonde_registry_new(f->store, &r));
	p = sonde_registry_processes(r);
	assert_non_null(p);
	assert_string_equal(p->process_id, id);
	assert_string_equal(p->service, "web");
	assert_int_equal(p->pid, 7);
	assert_string_equal(sonde_registry_find_entity(r, id)->name, "nginx");
	(void)sonde_registry_free(r);
}

static void rename_table(const struct fixture *f, const char *from, const char *to)
{
	_cleanup_free_ char *sql = NULL;
	sqlite3 *db = NULL;

	assert_true(asprintf(&sql, "ALTER TABLE %s RENAME TO %s", from, to) > 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void on_stored(void *ctx, int error)
{
	*(int *)ctx = error;
}

static void what_could_not_be_stored_is_not_called_stored(void **state)
{
	struct sonde_registry *r = NULL;
	int first = 1, second = 1, third = 1;
	struct fixture *f = *state;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	rename_table(f, "process", "away");
	(void)report(r, "a", "web", "nginx", 7, T0);
	assert_ok(sonde_registry_store(r, on_stored, &first));
	(void)report(r, "a", "web", "nginx", 7, T0); /* the agent asks again: nothing is new */
	assert_ok(sonde_registry_store(r, on_stored, &second));
	sonde_store_flush(f->store);
	assert_true(first < 0);
	assert_true(second < 0);
	rename_table(f, "away", "process");
	assert_ok(sonde_registry_store(r, on_stored, &third));
	sonde_store_flush(f->store);
	assert_ok(third);
	r = sonde_registry_free(r);
	assert_ok(sonde_registry_new(f->store, &r));
	assert_non_null(sonde_registry_processes(r));
	(void)sonde_registry_free(r);
}

static void a_ping_keeps_all_of_an_entity_alive(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	const struct sonde_process *one, *two, *other;
	struct fixture *f = *state;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	one = report(r, "a", "web", "nginx", 7, T0);
	two = report(r, "a", "web", "nginx", 8, T0);
	other = report(r, "b", "web", "nginx", 7, T0);
	assert_string_equal(one->process_id, two->process_id);
	assert_int_equal(sonde_registry_ping(r, one->agent, "web", "i", "nginx", T0 + 59000), 2);
	assert_true(sonde_process_live(two, T0 + 100000));
	assert_false(sonde_process_live(other, T0 + 100000));
	assert_int_equal(sonde_registry_ping(r, one->agent, "web", "i", "redis", T0 + 59000), 0);
}

static void forgets_the_process_and_keeps_its_name(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	char id[SONDE_MAL_PROCESS_ID_SIZE];
	struct fixture *f = *state;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	memcpy(id, report(r, "a", "web", "nginx", 7, T0)->process_id, sizeof(id));
	sonde_registry_tick(r, T0 + SONDE_REGISTRY_FORGET_MS + 1, 10 * SONDE_REGISTRY_FORGET_MS);
	assert_null(sonde_registry_processes(r));
	assert_non_null(sonde_registry_find_entity(r, id));
	sonde_registry_tick(r, T0 + 10 * SONDE_REGISTRY_FORGET_MS + 1,
			    10 * SONDE_REGISTRY_FORGET_MS);
	assert_null(sonde_registry_find_entity(r, id));
	assert_null(sonde_registry_agents(r));
}

static void refuses_names_that_cannot_be(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	char name[SONDE_REGISTRY_NAME_MAX + 1], id[SONDE_SPEC_TEXT_MAX + 1];
	const struct sonde_process *p = NULL;
	struct sonde_process_report in = {.service = "", .instance = "i", .name = "n"};
	struct fixture *f = *state;
	struct sonde_agent *a = NULL;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	assert_err(sonde_registry_see_agent(r, "", T0, &a), EINVAL);
	assert_err(sonde_registry_see_agent(r, id, T0, &a), EINVAL);
	assert_ok(sonde_registry_see_agent(r, "a", T0, &a));
	assert_err(sonde_registry_report(r, a, &in, T0, &p), EINVAL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	in.service = name;
	assert_err(sonde_registry_report(r, a, &in, T0, &p), EINVAL);
	assert_null(sonde_registry_processes(r));
}

static void a_process_is_a_better_word_than_an_address(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	struct fixture *f = *state;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	sonde_registry_note_entity(r, "id", SONDE_ENTITY_ADDRESS, "s", "i", "10.0.0.1", T0);
	sonde_registry_note_entity(r, "id", SONDE_ENTITY_PROCESS, "s", "i", "nginx", T0);
	sonde_registry_note_entity(r, "id", SONDE_ENTITY_ADDRESS, "s", "i", "10.0.0.1", T0);
	assert_int_equal(sonde_registry_find_entity(r, "id")->kind, SONDE_ENTITY_PROCESS);
	assert_string_equal(sonde_registry_find_entity(r, "id")->name, "nginx");
}

static struct sonde_agent *agent_of_host(struct sonde_registry *r, const char *id, const char *host,
					 int64_t now_ms)
{
	struct sonde_agent *a = NULL;

	assert_ok(sonde_registry_see_agent(r, id, now_ms, &a));
	json_decref(a->properties);
	a->properties = json_pack("{s:s}", "host", host);
	sonde_registry_replace(r, a, now_ms);
	return a;
}

static void a_later_agent_of_a_host_replaces_those_that_are_silent(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	struct fixture *f = *state;
	struct sonde_agent *old, *watching, *elsewhere, *fresh;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	old = agent_of_host(r, "old", "h", T0);
	elsewhere = agent_of_host(r, "elsewhere", "g", T0);
	watching = agent_of_host(r, "watching", "h", T0);
	watching->watches = 1;
	fresh = agent_of_host(r, "fresh", "h", T0 + 1000);
	assert_true(sonde_agent_replaced(old));
	assert_false(sonde_agent_live(old, T0 + 1000));
	assert_true(sonde_agent_live(watching, T0 + 1000));
	assert_true(sonde_agent_live(elsewhere, T0 + 1000));
	assert_true(sonde_agent_live(fresh, T0 + 1000));

	/* It was only cut off for a while. */
	assert_ok(sonde_registry_see_agent(r, "old", T0 + 2000, &old));
	assert_false(sonde_agent_replaced(old));
	assert_true(sonde_agent_live(old, T0 + 2000));

	sonde_registry_replace(r, fresh, T0 + 3000);
	sonde_registry_tick(r, T0 + 2000 + SONDE_REGISTRY_FORGET_MS, INT64_MAX);
	assert_non_null(sonde_registry_find_agent(r, "old"));
	sonde_registry_tick(r, T0 + 2001 + SONDE_REGISTRY_FORGET_MS, INT64_MAX);
	assert_null(sonde_registry_find_agent(r, "old"));
	assert_non_null(sonde_registry_find_agent(r, "elsewhere"));
	sonde_store_flush(f->store);
	watching->watches = 0;
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(survives_a_restart_with_names),
		with_store(what_could_not_be_stored_is_not_called_stored),
		with_store(a_ping_keeps_all_of_an_entity_alive),
		with_store(forgets_the_process_and_keeps_its_name),
		with_store(refuses_names_that_cannot_be),
		with_store(a_process_is_a_better_word_than_an_address),
		with_store(a_later_agent_of_a_host_replaces_those_that_are_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
