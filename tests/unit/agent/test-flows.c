/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/flows.h"

/* A server as it must understand the reports: flows by id, the last word holds. */
struct stage {
	struct sonde_snapshot s;
	struct sonde_view view;
	struct sonde_flows flows;
	uint64_t mono_ns;
	struct {
		uint64_t id, bytes;
		bool ended;
	} rows[8192];
	size_t n_rows;
	uint64_t rest_bytes, rest_connections;
	size_t told; /* flows of the last report */
	size_t folded;
};

static int set_up(void **state)
{
	struct stage *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->flows.wanted = true;
	assert_ok(sonde_view_add(&t->view, 1, NULL));
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *t = *state;

	sonde_snapshot_done(&t->s);
	sonde_view_done(&t->view);
	sonde_flows_done(&t->flows);
	free(t);
	return 0;
}

static void begin(struct stage *t)
{
	sonde_snapshot_begin(&t->s);
}

static void tell(struct stage *t, uint32_t pid, uint64_t id, uint64_t bytes, bool final)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_FLOW};

	r.flow.n = 1;
	r.flow.flow[0] = (struct sonde_flow){.id = id,
					     .pid = pid,
					     .role = SONDE_TCP_ROLE_CLIENT,
					     .protocol = IPPROTO_TCP,
					     .sent_bytes = bytes,
					     .start_ns = 1,
					     .end_ns = final ? 2 : 0,
					     .final = final};
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

static void tell_rest(struct stage *t, uint32_t pid, bool open, uint64_t connections,
		      uint64_t bytes)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_FLOW_REST};

	r.flow_rest.key.pid = pid;
	r.flow_rest.key.role = SONDE_TCP_ROLE_CLIENT;
	r.flow_rest.key.open = open;
	r.flow_rest.rest.connections = connections;
	r.flow_rest.rest.sent_bytes = bytes;
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

static void take(struct stage *t)
{
	t->mono_ns += 1000000000;
	sonde_snapshot_commit(&t->s, t->mono_ns, (int64_t)(t->mono_ns / 1000000));
	assert_ok(sonde_flows_take(&t->flows, &t->s, &t->view));
}

static struct sonde_process *no_process(void *ctx, uint32_t pid)
{
	return NULL;
}

static void put_row(struct stage *t, const Sonde__V1__Flow *f)
{
	size_t i = 0;

	while (i < t->n_rows && t->rows[i].id != f->id)
		i++;
	assert_true(i < ELEMENTS_OF(t->rows));
	if (i == t->n_rows)
		t->n_rows++;
	t->rows[i].id = f->id;
	t->rows[i].bytes = f->sent_bytes;
	t->rows[i].ended = f->end_wall_ms != 0;
}

static void drop_row(struct stage *t, uint64_t id)
{
	for (size_t i = 0; i < t->n_rows; i++) {
		if (t->rows[i].id != id)
			continue;
		t->rows[i] = t->rows[--t->n_rows];
		return;
	}
	fail_msg("a flow is folded that was never told");
}

static void report(struct stage *t, bool whole, bool arrives)
{
	const struct sonde_flows_moment m = {
		.mono_ns = t->mono_ns, .wall_ms = 1, .names = {no_process, NULL}, .whole = whole};
	_cleanup_(sonde_flow_report_freep) struct sonde_flow_report *r = NULL;
	Sonde__V1__FlowReport *message = NULL;

	assert_ok(sonde_flows_report(&t->flows, &m, &r, &message));
	t->told = message->n_flows;
	t->folded = message->n_folded;
	if (!arrives)
		return;
	for (size_t i = 0; whole && i < t->n_rows;) {
		if (t->rows[i].ended)
			i++;
		else
			t->rows[i] = t->rows[--t->n_rows];
	}
	for (size_t i = 0; i < message->n_flows; i++)
		put_row(t, message->flows[i]);
	for (size_t i = 0; !whole && i < message->n_folded; i++)
		drop_row(t, message->folded[i]);
	t->rest_bytes = message->ended_rest->sent_bytes + message->open_rest->sent_bytes;
	t->rest_connections = message->ended_rest->connections + message->open_rest->connections;
}

static void assert_total(const struct stage *t, uint64_t connections, uint64_t bytes)
{
	uint64_t sum = t->rest_bytes;

	for (size_t i = 0; i < t->n_rows; i++)
		sum += t->rows[i].bytes;
	assert_int_equal(sum, bytes);
	assert_int_equal(t->n_rows + t->rest_connections, connections);
}

static void an_open_one_is_told_when_it_changed_and_when_it_ended(void **state)
{
	struct stage *t = *state;

	begin(t);
	tell(t, 1, 7, 100, false);
	tell(t, 2, 8, 5000, false); /* another's */
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, 1);
	assert_total(t, 1, 100);
	begin(t);
	tell(t, 1, 7, 100, false);
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, 0);
	begin(t);
	tell(t, 1, 7, 150, false);
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, 1);
	assert_total(t, 1, 150);
	begin(t);
	tell(t, 1, 7, 160, true);
	take(t);
	begin(t); /* a snapshot for another task */
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, 1);
	assert_total(t, 1, 160);
	begin(t);
	take(t);
	report(t, false, true);
	assert_int_equal(t->told + t->folded, 0);
}

/* More of both kinds than a report tells, told flows among those that give way. */
static void what_is_not_told_is_summed(void **state)
{
	const uint64_t n = SONDE_FLOWS_OPEN_MAX + 100, m = SONDE_FLOWS_ENDED_MAX + 300;
	struct stage *t = *state;
	uint64_t open = 0, ended = 0;

	begin(t);
	for (uint64_t i = 0; i < n; i++)
		tell(t, 1, 1000 + i, i + 1, false);
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, SONDE_FLOWS_OPEN_MAX);
	assert_total(t, n, n * (n + 1) / 2);

	begin(t);
	for (uint64_t i = 0; i < n; i++) { /* the small ones are the large ones now */
		tell(t, 1, 1000 + i, 2 * n - i, false);
		open += 2 * n - i;
	}
	for (uint64_t i = 0; i < m; i++) {
		tell(t, 1, 100000 + i, (i * 7919) % m, true);
		ended += (i * 7919) % m;
	}
	tell_rest(t, 1, false, 10, 1000);
	tell_rest(t, 1, true, 3, 77);
	tell_rest(t, 2, false, 99, 99);
	take(t);
	report(t, false, true);
	assert_int_equal(t->told, SONDE_FLOWS_OPEN_MAX + SONDE_FLOWS_ENDED_MAX);
	assert_int_equal(t->folded, 100);
	assert_total(t, n + m + 13, open + ended + 1077);
	for (size_t i = 0; i < t->n_rows; i++) /* the largest were kept */
		assert_true(!t->rows[i].ended || t->rows[i].bytes >= 300);

	/* The probe's sum of ended ones is cumulative; all the open ones end. */
	begin(t);
	for (uint64_t i = 0; i < n; i++)
		tell(t, 1, 1000 + i, 2 * n - i, true);
	tell_rest(t, 1, false, 13, 1077);
	take(t);
	report(t, false, true);
	assert_total(t, n + m + 13, open + ended + 1077);
}

static void a_lost_report_is_made_up_for(void **state)
{
	struct stage *t = *state;

	begin(t);
	tell(t, 1, 7, 100, false);
	tell(t, 1, 8, 200, false);
	take(t);
	report(t, false, true);
	begin(t); /* 7 ended in what is lost, 8 is quiet, 9 is new */
	tell(t, 1, 7, 110, true);
	tell(t, 1, 8, 200, false);
	tell(t, 1, 9, 300, false);
	take(t);
	report(t, false, false);
	begin(t);
	tell(t, 1, 8, 200, false);
	tell(t, 1, 9, 300, false);
	take(t);
	report(t, true, true);
	assert_int_equal(t->told, 2);
	assert_total(t, 2, 500); /* what ended in it is lost, and the ledger says so */
}

static void what_another_task_measured_before_is_not_counted(void **state)
{
	struct stage *t = *state;

	begin(t);
	tell(t, 1, 7, 100, false);
	tell(t, 1, 8, 1000, true);
	tell_rest(t, 1, false, 10, 5000);
	sonde_snapshot_commit(&t->s, 1, 1);
	assert_ok(sonde_flows_begin(&t->flows, &t->s));
	assert_ok(sonde_flows_join(&t->flows, &t->s, 1));
	begin(t);
	tell(t, 1, 7, 130, false);
	tell(t, 1, 9, 5, false);
	tell_rest(t, 1, false, 11, 5001);
	take(t);
	report(t, false, true);
	assert_total(t, 3, 36);
	begin(t);
	tell(t, 1, 7, 150, true);
	tell(t, 1, 9, 5, false);
	tell_rest(t, 1, false, 11, 5001);
	take(t);
	report(t, false, true);
	assert_total(t, 3, 56);
}

static void those_of_a_collector_that_another_task_asked_for_are_not_its_own(void **state)
{
	struct stage *t = *state;

	t->view.collectors = SONDE_PROBE_COLLECT_UDP;
	begin(t);
	tell(t, 1, 7, 100, true);
	tell(t, 1, 8, 100, false);
	tell_rest(t, 1, true, 3, 30);
	tell_rest(t, 1, false, 4, 40);
	take(t);
	assert_int_equal(t->flows.n_ended, 0);
	assert_int_equal(t->flows.n_open, 0);
	assert_int_equal(t->flows.open_rest.connections, 0);
	assert_int_equal(t->flows.ended_rest.connections, 0);
}

static void without_them_nothing_is_kept(void **state)
{
	struct stage *t = *state;

	t->flows.wanted = false;
	begin(t);
	tell(t, 1, 7, 100, true);
	take(t);
	assert_int_equal(t->flows.n_ended, 0);
	assert_null(t->flows.ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_open_one_is_told_when_it_changed_and_when_it_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_told_is_summed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_report_is_made_up_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_another_task_measured_before_is_not_counted,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			those_of_a_collector_that_another_task_asked_for_are_not_its_own, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(without_them_nothing_is_kept, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
