/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "model/probe-msg.h"

static struct sonde_probe_request request(uint32_t type)
{
	return (struct sonde_probe_request){
		.version = SONDE_PROBE_VERSION, .type = type, .id = 5, .pid = 1};
}

static int check(const struct sonde_probe_request *q, size_t n, uint64_t last_id)
{
	const char *why = NULL;
	int r = sonde_probe_request_check(q, n, last_id, &why);

	assert_true((r < 0) == (why != NULL));
	return r;
}

static void takes_every_request_type(void **state)
{
	for (uint32_t type = 1; type < _SONDE_PROBE_REQUEST_MAX; type++) {
		struct sonde_probe_request q = request(type);

		assert_ok(check(&q, sizeof(q), 4));
		assert_string_not_equal(sonde_probe_request_name(type), "?");
	}
	assert_string_equal(sonde_probe_request_name(0), "?");
	assert_string_equal(sonde_probe_request_name(_SONDE_PROBE_REQUEST_MAX), "?");
}

static void refuses_requests_that_the_agent_never_sends(void **state)
{
	struct sonde_probe_request q = request(SONDE_PROBE_TARGET_ADD);

	assert_err(check(&q, sizeof(q) - 1, 0), EBADMSG);
	assert_err(check(&q, sizeof(q) + 1, 0), EBADMSG);
	assert_err(check(&q, 0, 0), EBADMSG);
	assert_err(check(&q, sizeof(q), 5), EBADMSG); /* the same id again */
	assert_err(check(&q, sizeof(q), 6), EBADMSG);
	q.task = SONDE_PROBE_TASKS_MAX;
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
	q = request(SONDE_PROBE_TARGET_ADD);
	q.pid = 0;
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
	q.pid = 0x80000000;
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
	q = request(SONDE_PROBE_SNAPSHOT);
	q.pad2[6] = 1;
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
	q = request(_SONDE_PROBE_REQUEST_MAX);
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
	q = request(SONDE_PROBE_SNAPSHOT);
	q.version = 2;
	assert_err(check(&q, sizeof(q), 0), EBADMSG);
}

static struct sonde_probe_reply reply(uint32_t type)
{
	struct sonde_probe_reply p = {.version = SONDE_PROBE_VERSION, .type = type, .id = 5};

	if (type == SONDE_PROBE_HELLO || type == SONDE_PROBE_TASK_ENDED)
		p.id = 0;
	if (type == SONDE_PROBE_CELL) {
		p.cell.key.role = SONDE_TCP_ROLE_SERVER;
		p.cell.key.protocol = IPPROTO_TCP;
	}
	if (type == SONDE_PROBE_UDP_CELL) {
		p.udp_cell.key.role = SONDE_TCP_ROLE_CLIENT;
		p.udp_cell.key.protocol = IPPROTO_UDP;
	}
	if (type == SONDE_PROBE_FLOW_REST)
		p.flow_rest.key.role = SONDE_TCP_ROLE_CLIENT;
	return p;
}

static int check_reply(const struct sonde_probe_reply *p, size_t n)
{
	const char *why = NULL;
	int r = sonde_probe_reply_check(p, n, &why);

	assert_true((r < 0) == (why != NULL));
	return r;
}

static void takes_every_reply_type(void **state)
{
	for (uint32_t type = 1; type < _SONDE_PROBE_REPLY_MAX; type++) {
		struct sonde_probe_reply p = reply(type);

		assert_ok(check_reply(&p, sizeof(p)));
	}
}

static void a_cell_is_of_its_own_protocol(void **state)
{
	struct sonde_probe_reply p = reply(SONDE_PROBE_CELL);

	p.cell.key.protocol = IPPROTO_UDP;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_UDP_CELL);
	p.udp_cell.key.protocol = IPPROTO_TCP;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.udp_cell.key.protocol = IPPROTO_UDP;
	p.udp_cell.key.role = SONDE_TCP_ROLE_UNKNOWN;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
}

/* Every type that carries text, with no NUL in it. */
static void refuses_text_without_an_end(void **state)
{
	static const uint32_t types[] = {
		SONDE_PROBE_HELLO, SONDE_PROBE_END,	 SONDE_PROBE_DROP,	SONDE_PROBE_COST,
		SONDE_PROBE_PROBE, SONDE_PROBE_EXE_PATH, SONDE_PROBE_TASK_ENDED};

	for (size_t i = 0; i < ELEMENTS_OF(types); i++) {
		struct sonde_probe_reply p = reply(types[i]);

		memset(p.bytes, 1, sizeof(p.bytes));
		if (p.type == SONDE_PROBE_END)
			p.end.error = 0;
		if (p.type == SONDE_PROBE_TASK_ENDED)
			p.task_ended.task = 0;
		assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	}
}

static void refuses_counts_and_indexes_beyond_their_arrays(void **state)
{
	struct sonde_probe_reply p = reply(SONDE_PROBE_HIST);

	p.hist.n = SONDE_PROBE_HIST_CHUNK + 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.hist.n = 1;
	p.hist.pair[0].bucket = SONDE_HIST_BUCKETS;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.hist.pair[0].bucket = SONDE_HIST_BUCKETS - 1;
	assert_ok(check_reply(&p, sizeof(p)));
	p = reply(SONDE_PROBE_PID);
	p.pids.n = ELEMENTS_OF(p.pids.pid) + 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_END);
	p.end.error = 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.end.error = INT32_MIN; /* its magnitude is no int */
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_TASK_ENDED);
	p.task_ended.task = SONDE_PROBE_TASKS_MAX;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_CELL);
	p.cell.key.role = 0;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
}

static void refuses_flows_out_of_range(void **state)
{
	struct sonde_probe_reply p = reply(SONDE_PROBE_FLOW);

	p.flow.n = SONDE_PROBE_FLOW_CHUNK + 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.flow.n = 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG); /* without a role */
	p.flow.flow[0].role = SONDE_TCP_ROLE_CLIENT;
	assert_ok(check_reply(&p, sizeof(p)));
	p.flow.flow[0].closer = SONDE_TCP_CLOSE_MAX + 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.flow.flow[0].closer = SONDE_TCP_CLOSE_MAX;
	p.flow.flow[0].error = SONDE_TCP_CONNECT_ERROR_MAX + 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_FLOW_REST);
	p.flow_rest.key.open = 2;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p.flow_rest.key.open = 1;
	p.flow_rest.key.role = SONDE_TCP_ROLE_UNKNOWN;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
}

static void only_hello_and_task_ended_come_unasked(void **state)
{
	struct sonde_probe_reply p = reply(SONDE_PROBE_CELL);

	p.id = 0;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_HELLO);
	p.id = 1;
	assert_err(check_reply(&p, sizeof(p)), EBADMSG);
	p = reply(SONDE_PROBE_END);
	assert_err(check_reply(&p, sizeof(p) - 1), EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_every_request_type),
		cmocka_unit_test(refuses_requests_that_the_agent_never_sends),
		cmocka_unit_test(takes_every_reply_type),
		cmocka_unit_test(a_cell_is_of_its_own_protocol),
		cmocka_unit_test(refuses_text_without_an_end),
		cmocka_unit_test(refuses_counts_and_indexes_beyond_their_arrays),
		cmocka_unit_test(refuses_flows_out_of_range),
		cmocka_unit_test(only_hello_and_task_ended_come_unasked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
