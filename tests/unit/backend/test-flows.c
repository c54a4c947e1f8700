/* SPDX-License-Identifier: Apache-2.0 */
/* Flows from report to row: once each, bounded, and found again by page, filter and the other end. */
#include "backend-fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/flows.h"
#include "backend/services/flows.h"

#define FLOWS_MAX 64

/* A report that is filled in by a test. */
struct report {
	Sonde__V1__FlowReport message;
	Sonde__V1__FlowProcess process[2];
	Sonde__V1__FlowProcess *processes[2];
	Sonde__V1__Flow flow[FLOWS_MAX];
	Sonde__V1__Flow *flows[FLOWS_MAX];
	uint8_t local[FLOWS_MAX][4], remote[FLOWS_MAX][4];
	uint64_t folded[FLOWS_MAX];
};

struct rig {
	struct fixture f; /* first: the fixture's own functions take it */
	struct sonde_backend backend;
	struct sonde_spec spec;
	struct sonde_task task;
	struct sonde_task_agent agent;
	struct sonde_task_agent *agents[1];
	uint64_t max_rows;
};

static int setup(void **state)
{
	struct rig *rig;
	struct fixture *f;
	int r = fixture_setup(state);

	if (r < 0)
		return r;
	f = *state;
	rig = calloc(1, sizeof(*rig));
	if (!rig)
		return -1;
	rig->f = *f;
	free(f);
	fixture_open(&rig->f);
	rig->backend.store = rig->f.store;
	(void)snprintf(rig->spec.id, sizeof(rig->spec.id), "task");
	(void)snprintf(rig->agent.id, sizeof(rig->agent.id), "agent");
	rig->task.spec = &rig->spec;
	rig->agents[0] = &rig->agent;
	rig->task.agents = rig->agents;
	rig->task.n_agents = 1;
	rig->max_rows = 1000;
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	json_decref(rig->agent.flows);
	return fixture_teardown(state);
}

static void begin(struct report *r)
{
	static char names[2][8] = {"web", "db"}, ids[2][8] = {"p-web", "p-db"};

	*r = (struct report){0};
	sonde__v1__flow_report__init(&r->message);
	for (size_t i = 0; i < 2; i++) {
		sonde__v1__flow_process__init(&r->process[i]);
		r->process[i].pid = (int32_t)(100 + i);
		r->process[i].name = names[i];
		r->process[i].process_id = ids[i];
		r->processes[i] = &r->process[i];
	}
	r->message.n_processes = 2;
	r->message.processes = r->processes;
	r->message.flows = r->flows;
	r->message.folded = r->folded;
}

/* A client's of `web` at 10.0.0.1 to 10.0.0.@to port 80. */
static Sonde__V1__Flow *add(struct report *r, uint64_t id, uint8_t to, uint64_t bytes, bool final)
{
	size_t n = r->message.n_flows++;
	Sonde__V1__Flow *f = &r->flow[n];

	assert_true(n < FLOWS_MAX);
	sonde__v1__flow__init(f);
	memcpy(r->local[n], (uint8_t[]){10, 0, 0, 1}, 4);
	memcpy(r->remote[n], (uint8_t[]){10, 0, 0, to}, 4);
	f->id = id;
	f->process = 1;
	f->local_address = (ProtobufCBinaryData){4, r->local[n]};
	f->remote_address = (ProtobufCBinaryData){4, r->remote[n]};
	f->local_port = 40000 + (uint32_t)id % 1000;
	f->remote_port = 80;
	f->role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;
	f->state = final ? SONDE__V1__FLOW_STATE__FLOW_STATE_CLOSE
			 : SONDE__V1__FLOW_STATE__FLOW_STATE_ESTABLISHED;
	f->start_wall_ms = 1000 + (int64_t)id;
	f->end_wall_ms = final ? 2000 + (int64_t)id : 0;
	f->final = final;
	f->sent_bytes = bytes;
	r->flows[n] = f;
	return f;
}

static void take(struct rig *rig, struct report *r, uint64_t sequence, bool again)
{
	struct sonde_store_job *job = sonde_store_job_new();

	assert_non_null(job);
	assert_null(sonde_flows_fault(&r->message));
	assert_ok(sonde_flows_take(&rig->task, &rig->agent, &r->message, sequence, again,
				   rig->max_rows, job));
	assert_ok(sonde_store_submit(rig->f.store, &job, NULL, NULL));
	sonde_store_flush(rig->f.store);
}

static json_t *ask(struct rig *rig, struct sonde_flows_query query)
{
	struct sonde_problem problem = {0};
	json_t *answer = NULL;

	assert_ok(sonde_view_flows(&rig->backend, &rig->task, &query, &answer, &problem));
	return answer;
}

static int64_t sum(const json_t *answer, const char *key)
{
	int64_t total = 0;
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "flows"), i, row) total +=
		sonde_json_get_int(row, key, 0);
	return total;
}

static void assert_stored(struct rig *rig, size_t rows, int64_t bytes)
{
	_cleanup_json_ json_t *answer = ask(rig, (struct sonde_flows_query){.limit = "1000"});

	assert_int_equal(json_array_size(json_object_get(answer, "flows")), rows);
	assert_int_equal(sum(answer, "sent_bytes"), bytes);
	assert_int_equal(sonde_json_get_int(answer, "stored", -1), rows);
}

static void twice_and_late_change_nothing(void **state)
{
	struct rig *rig = *state;
	struct report first, second;

	begin(&first);
	(void)add(&first, 1, 9, 100, false);
	(void)add(&first, UINT64_MAX, 9, 7, true); /* a cookie's highest bit is a sign in SQLite */
	take(rig, &first, 1, false);
	take(rig, &first, 1, true);
	assert_stored(rig, 2, 107);
	begin(&second);
	(void)add(&second, 1, 9, 150, true);
	take(rig, &second, 2, false);
	take(rig, &first, 1, true); /* held up on its way */
	assert_stored(rig, 2, 157);
}

static void folded_and_lost_ones_leave(void **state)
{
	struct rig *rig = *state;
	struct report r;

	begin(&r);
	for (uint64_t id = 1; id <= 4; id++)
		(void)add(&r, id, 9, 10, id == 4);
	take(rig, &r, 1, false);
	assert_stored(rig, 4, 40);
	begin(&r);
	r.folded[r.message.n_folded++] = 1;
	take(rig, &r, 2, false);
	assert_stored(rig, 3, 30);
	begin(&r); /* an earlier report may be lost: only this one is open */
	(void)add(&r, 2, 9, 15, false);
	r.message.whole = true;
	take(rig, &r, 4, false);
	assert_stored(rig, 2, 25); /* it, and the one that had ended */
}

static void beyond_the_limit_they_are_summed(void **state)
{
	struct rig *rig = *state;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *ended;
	struct report r;

	rig->max_rows = 3;
	begin(&r);
	(void)add(&r, 10, 9, 1, false); /* open: not counted, and ends beyond the limit */
	for (uint64_t id = 1; id <= 5; id++)
		(void)add(&r, id, 9, 100, true);
	take(rig, &r, 1, false);
	take(rig, &r, 1, true);
	begin(&r);
	(void)add(&r, 10, 9, 2, true);
	take(rig, &r, 2, false);
	assert_stored(rig, 3, 300);
	answer = ask(rig, (struct sonde_flows_query){0});
	ended = json_object_get(json_object_get(answer, "rest"), "ended");
	assert_int_equal(sonde_json_get_int(ended, "connections", 0), 3);
	assert_int_equal(sonde_json_get_int(ended, "sent_bytes", 0), 202);
}

static void pages_follow_each_other(void **state)
{
	char cursor[256] = "";
	struct rig *rig = *state;
	int64_t last = INT64_MAX;
	struct report r;
	size_t seen = 0;

	begin(&r);
	for (uint64_t id = 1; id <= 50; id++) /* many of one size: the id decides */
		(void)add(&r, id, 9, id / 10, true);
	take(rig, &r, 1, false);
	for (int page = 0; page < 8; page++) {
		_cleanup_json_ json_t *answer =
			ask(rig, (struct sonde_flows_query){.limit = "7", .cursor = cursor});
		const json_t *rows = json_object_get(answer, "flows");
		const char *next = json_string_value(json_object_get(answer, "next"));

		for (size_t i = 0; i < json_array_size(rows); i++) {
			int64_t bytes =
				sonde_json_get_int(json_array_get(rows, i), "sent_bytes", -1);

			assert_true(bytes <= last);
			last = bytes;
			seen++;
		}
		if (!next)
			break;
		(void)snprintf(cursor, sizeof(cursor), "%s", next);
	}
	assert_int_equal(seen, 50);
}

static void filters_and_their_refusals(void **state)
{
	static const struct {
		struct sonde_flows_query query;
		size_t rows;
	} good[] = {
		{{.process = "web"}, 3},       {{.process = "p-web"}, 3}, {{.process = "100"}, 3},
		{{.process = "db"}, 0},	       {{.peer = "10.0.0.9"}, 2}, {{.peer = "db"}, 1},
		{{.state = "open"}, 1},	       {{.state = "ended"}, 2},	  {{.state = "failed"}, 1},
		{{.state = "ESTABLISHED"}, 1}, {{.role = "client"}, 3},	  {{.role = "server"}, 0},
	};
	static const struct sonde_flows_query bad[] = {
		{.state = "dead"}, {.sort = "name"},	{.role = "both"},  {.limit = "0"},
		{.limit = "1001"}, {.cursor = "x:y:z"}, {.cursor = "1:2"}, {.cursor = "-1:2:a"},
	};
	struct rig *rig = *state;
	struct report r;

	begin(&r);
	(void)add(&r, 1, 9, 1, false);
	add(&r, 2, 8, 2, true)->peer_process = 2;
	add(&r, 3, 9, 0, true)->error = SONDE__V1__FLOW_ERROR__FLOW_ERROR_ECONNREFUSED;
	take(rig, &r, 1, false);
	for (size_t i = 0; i < ELEMENTS_OF(good); i++) {
		_cleanup_json_ json_t *answer = ask(rig, good[i].query);

		assert_int_equal(json_array_size(json_object_get(answer, "flows")), good[i].rows);
	}
	for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
		struct sonde_problem problem = {0};
		json_t *answer = NULL;

		assert_err(sonde_view_flows(&rig->backend, &rig->task, &bad[i], &answer, &problem),
			   EINVAL);
		assert_int_equal(problem.status, 400);
	}
}

/* The server's end has another address for itself than the client asked for. */
static void two_ends_are_joined_through_translation(void **state)
{
	static uint8_t own[4] = {10, 0, 0, 77};
	struct rig *rig = *state;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *row, *peer;
	Sonde__V1__Flow *f;
	struct report r;

	begin(&r);
	(void)add(&r, 1, 9, 100, false);
	f = add(&r, 2, 1, 50, false); /* from 10.0.0.1, where the client's is */
	f->role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER;
	f->process = 2;
	f->local_address = (ProtobufCBinaryData){4, own};
	f->local_port = 8080;
	f->remote_port = 40001;
	take(rig, &r, 1, false);
	answer = ask(rig, (struct sonde_flows_query){.role = "client"});
	row = json_array_get(json_object_get(answer, "flows"), 0);
	peer = json_object_get(row, "peer");
	assert_string_equal(sonde_json_get_text(peer, "process", ""), "db");
	assert_string_equal(sonde_json_get_text(peer, "address", ""), "10.0.0.77");
	assert_int_equal(sonde_json_get_int(peer, "port", 0), 8080);
	assert_string_equal(sonde_json_get_text(json_object_get(row, "service"), "by", ""),
			    "flows");
	assert_string_equal(sonde_json_get_text(json_object_get(row, "service"), "address", ""),
			    "10.0.0.9");
	/* Another server that the same port of the client talks to: which of them is not ours to say. */
	begin(&r);
	f = add(&r, 3, 1, 50, false);
	f->role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER;
	f->local_port = 9090;
	f->remote_port = 40001;
	take(rig, &r, 2, false);
	json_decref(answer);
	answer = ask(rig, (struct sonde_flows_query){.role = "client"});
	row = json_array_get(json_object_get(answer, "flows"), 0);
	assert_true(json_is_null(json_object_get(row, "service")));
}

static void hostile_reports_are_refused(void **state)
{
	struct report r;

	begin(&r);
	add(&r, 1, 9, 1, false)->process = 0;
	assert_non_null(sonde_flows_fault(&r.message));
	r.flow[0].process = 3;
	assert_non_null(sonde_flows_fault(&r.message));
	r.flow[0].process = 2;
	assert_null(sonde_flows_fault(&r.message));
	r.flow[0].remote_address.len = 3;
	assert_non_null(sonde_flows_fault(&r.message));
	r.flow[0].remote_address.len = 4;
	r.flow[0].local_port = 65536;
	assert_non_null(sonde_flows_fault(&r.message));
	r.flow[0].local_port = 1;
	r.flow[0].role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_UNKNOWN;
	assert_non_null(sonde_flows_fault(&r.message));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(twice_and_late_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(folded_and_lost_ones_leave, setup, teardown),
		cmocka_unit_test_setup_teardown(beyond_the_limit_they_are_summed, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_follow_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(filters_and_their_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(two_ends_are_joined_through_translation, setup,
						teardown),
		cmocka_unit_test(hostile_reports_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
