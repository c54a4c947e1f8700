/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/view.h"

/* A probe of one's own: cells by index, told to a snapshot. */
struct stage {
	struct sonde_snapshot s;
	struct sonde_peer_table *peers;
	struct sonde_process *named[4]; /* by pid */
	uint64_t epoch;
};

static int set_up(void **state)
{
	struct stage *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_ok(sonde_peer_table_new(100, &t->peers));
	sonde_peer_table_seal(t->peers, NULL, NULL);
	for (uint32_t pid = 1; pid < ELEMENTS_OF(t->named); pid++) {
		assert_ok(sonde_process_new(pid, 1, &t->named[pid]));
		(void)snprintf(t->named[pid]->id, SONDE_PROCESS_ID_MAX, "id%u", pid);
	}
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *t = *state;

	for (size_t i = 0; i < ELEMENTS_OF(t->named); i++)
		(void)sonde_process_unref(t->named[i]);
	(void)sonde_peer_table_free(t->peers);
	sonde_snapshot_done(&t->s);
	free(t);
	return 0;
}

static void begin(struct stage *t)
{
	t->epoch++;
	sonde_snapshot_begin(&t->s);
}

static void tell_cell(struct stage *t, uint32_t index, uint32_t pid, uint64_t sent, uint64_t open)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_CELL};

	r.cell.index = index;
	r.cell.key.pid = pid;
	r.cell.key.role = SONDE_TCP_ROLE_CLIENT;
	r.cell.cell.sent_bytes = sent;
	r.cell.cell.open = open;
	r.cell.cell.epoch = t->epoch;
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

static void tell_rtt(struct stage *t, uint32_t index, uint16_t bucket, uint32_t count)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_HIST};

	r.hist.index = index;
	r.hist.n = 1;
	r.hist.pair[0].bucket = bucket;
	r.hist.pair[0].count = count;
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

static void tell_drop(struct stage *t, uint32_t index, uint64_t skbs)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_DROP};

	r.drop.key.cell = index;
	r.drop.drop.skbs = r.drop.drop.segments = skbs;
	(void)snprintf(r.drop.reason, sizeof(r.drop.reason), "NETFILTER_DROP");
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

static void end(struct stage *t)
{
	sonde_snapshot_commit(&t->s, t->epoch, (int64_t)t->epoch);
}

static struct sonde_process *process_of(void *ctx, uint32_t pid)
{
	struct stage *t = ctx;

	return pid < ELEMENTS_OF(t->named) && t->named[pid] && t->named[pid]->id[0] ? t->named[pid]
										    : NULL;
}

static size_t look(struct stage *t, struct sonde_view *v, struct sonde_edges *e)
{
	size_t waiting = 0;

	sonde_edges_done(e);
	assert_ok(sonde_view_difference(v, &t->s, t->peers,
					(struct sonde_view_names){process_of, t}, e, &waiting));
	return waiting;
}

static uint64_t sent(struct stage *t, struct sonde_view *v)
{
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	uint64_t n = 0;

	(void)look(t, v, &e);
	for (size_t i = 0; i < e.n; i++)
		n += e.edges[i].cell.sent_bytes;
	return n;
}

static void what_is_of_before_counts_once_it_changes(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	struct stage *t = *state;

	begin(t);
	tell_cell(t, 0, 1, 100, 0);
	tell_cell(t, 1, 1, 100, 1);
	end(t);
	assert_ok(sonde_view_add(&v, 1, &t->s));
	assert_false(sonde_view_counts(&v, &t->s, 0));
	assert_true(sonde_view_counts(&v, &t->s, sonde_snapshot_place(0, 1))); /* open */
	begin(t);
	tell_cell(t, 0, 1, 101, 0);
	end(t);
	assert_true(sonde_view_counts(&v, &t->s, 0));
	assert_int_equal(sent(t, &v), 1);
	assert_true(sonde_view_counts(&v, &t->s, 0)); /* of the task still, though it is told */
}

static void overlapping_views_are_each_exact(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view a = {0}, b = {0};
	struct stage *t = *state;

	assert_ok(sonde_view_add(&a, 1, &t->s));
	begin(t);
	tell_cell(t, 0, 1, 100, 1);
	tell_cell(t, 1, 2, 1000, 1);
	end(t);
	assert_int_equal(sent(t, &a), 100);
	assert_ok(sonde_view_add(&b, 1, &t->s));
	assert_ok(sonde_view_add(&b, 2, NULL)); /* new to the probe: from 0 */
	assert_int_equal(sent(t, &b), 1000);
	begin(t);
	tell_cell(t, 0, 1, 130, 1);
	end(t);
	assert_int_equal(sent(t, &b), 30);
	begin(t);
	tell_cell(t, 0, 1, 131, 1);
	end(t);
	assert_int_equal(sent(t, &a), 31);
	assert_int_equal(sent(t, &b), 1);
	assert_int_equal(sent(t, &b), 0);
}

static void a_worker_that_begins_anew_counts_from_zero(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	struct stage *t = *state;

	assert_ok(sonde_view_add(&v, 1, NULL));
	begin(t);
	tell_cell(t, 0, 1, 100, 0);
	end(t);
	assert_int_equal(sent(t, &v), 100);
	sonde_snapshot_reset(&t->s);
	sonde_view_rebase(&v);
	begin(t);
	tell_cell(t, 0, 1, 40, 0);
	end(t);
	assert_int_equal(sent(t, &v), 40);
}

static void a_histogram_count_may_wrap(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	const struct sonde_sparse_hist *h;
	struct stage *t = *state;

	begin(t);
	tell_cell(t, 0, 1, 1, 0);
	tell_rtt(t, 0, 20, UINT32_MAX - 1);
	end(t);
	assert_ok(sonde_view_add(&v, 1, &t->s));
	begin(t);
	tell_cell(t, 0, 1, 2, 0);
	tell_rtt(t, 0, 20, 3);
	tell_rtt(t, 0, 30, 7);
	end(t);
	(void)look(t, &v, &e);
	assert_int_equal(e.n, 1);
	h = &e.edges[0].hists[SONDE_PROBE_HIST_RTT];
	assert_int_equal(h->n, 2);
	assert_int_equal(h->pairs[0].count, 5); /* it wrapped */
	assert_int_equal(h->pairs[1].count, 7);
}

static void drops_are_differences_and_come_without_a_cell_record(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	struct stage *t = *state;

	begin(t);
	tell_cell(t, 0, 1, 1, 2);
	tell_drop(t, 0, 10);
	end(t);
	assert_ok(sonde_view_add(&v, 1, &t->s));
	begin(t);
	tell_drop(t, 0, 13);
	end(t);
	(void)look(t, &v, &e);
	assert_int_equal(e.n, 1);
	assert_true(e.edges[0].changed);
	assert_int_equal(e.edges[0].n_drops, 1);
	assert_int_equal(e.edges[0].drops[0].drop.skbs, 3);
	assert_int_equal(e.edges[0].cell.open, 2); /* what was not told again still holds */
}

static void tell_drop_at(struct stage *t, uint32_t index, enum sonde_tcp_where where, uint64_t skbs)
{
	struct sonde_probe_reply r = {.type = SONDE_PROBE_DROP};

	r.drop.key.cell = index;
	r.drop.key.where = where;
	r.drop.key.direction = SONDE_TCP_DIRECTION_TX;
	r.drop.drop.skbs = r.drop.drop.segments = skbs;
	(void)snprintf(r.drop.reason, sizeof(r.drop.reason), "NETFILTER_DROP");
	assert_ok(sonde_snapshot_record(&t->s, &r));
}

/* Rows of @v, which has one cell, at @where; all of @skbs, whatever they are called. */
static uint64_t skbs_at(struct stage *t, struct sonde_view *v, enum sonde_tcp_where where,
			uint64_t skbs)
{
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	uint64_t found = 0, all = 0;

	(void)look(t, v, &e);
	assert_int_equal(e.n, 1);
	for (size_t i = 0; i < e.edges[0].n_drops; i++) {
		const struct sonde_edge_drop *d = &e.edges[0].drops[i];

		all += d->drop.skbs;
		if (d->where == where)
			found += d->drop.skbs;
		for (size_t n = 0; n < i;
		     n++) /* an OAP throws a report with two of one label set away */
			assert_int_not_equal(e.edges[0].drops[n].where, d->where);
	}
	assert_int_equal(all, skbs);
	return found;
}

/* The kernel side knows targets, not tasks: to a task over one end nobody else has it. */
static void what_both_ends_have_is_so_in_a_task_over_both(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view both = {0}, one = {0}, other = {0};
	struct sonde_probe_reply r = {.type = SONDE_PROBE_CELL};
	struct stage *t = *state;

	assert_ok(sonde_view_add(&both, 1, NULL));
	assert_ok(sonde_view_add(&both, 2, NULL));
	assert_ok(sonde_view_add(&one, 1, NULL));
	assert_ok(sonde_view_add(&other, 1, NULL));
	assert_ok(sonde_view_add(&other, 3, NULL));
	begin(t);
	r.cell.key.pid = 1;
	r.cell.key.peer_pid = 2;
	r.cell.key.role = SONDE_TCP_ROLE_CLIENT;
	r.cell.cell.sent_bytes = 1;
	r.cell.cell.epoch = t->epoch;
	assert_ok(sonde_snapshot_record(&t->s, &r));
	tell_drop_at(t, 0, SONDE_TCP_WHERE_ELSEWHERE, 5);
	tell_drop_at(t, 0, SONDE_TCP_WHERE_BOTH_ENDS, 7);
	end(t);
	assert_int_equal(skbs_at(t, &both, SONDE_TCP_WHERE_BOTH_ENDS, 12), 7);
	assert_int_equal(skbs_at(t, &one, SONDE_TCP_WHERE_ELSEWHERE, 12), 12);
	assert_int_equal(skbs_at(t, &other, SONDE_TCP_WHERE_ELSEWHERE, 12), 12);
	sonde_view_remove(&both, 2); /* it ended, or was taken out */
	begin(t);
	tell_drop_at(t, 0, SONDE_TCP_WHERE_ELSEWHERE, 5);
	tell_drop_at(t, 0, SONDE_TCP_WHERE_BOTH_ENDS, 9);
	end(t);
	assert_int_equal(skbs_at(t, &both, SONDE_TCP_WHERE_ELSEWHERE, 2), 2);
}

static void a_gauge_belongs_to_its_snapshot(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	struct stage *t = *state;

	assert_ok(sonde_view_add(&v, 1, NULL));
	begin(t);
	tell_cell(t, 0, 1, 1, 2);
	end(t);
	(void)look(t, &v, &e);
	assert_int_equal(e.edges[0].cell.open, 2);
	/* no live socket was folded into cell 0: its epoch is the old one */
	begin(t);
	t->epoch--;
	tell_cell(t, 0, 1, 5, 2);
	t->epoch++;
	tell_cell(t, 1, 2, 1, 1);
	end(t);
	(void)look(t, &v, &e);
	assert_int_equal(e.n, 1);
	assert_int_equal(e.edges[0].cell.open, 0);
}

static void what_waits_for_an_id_comes_whole_later(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	_cleanup_(sonde_edges_done) struct sonde_edges e = {0};
	struct stage *t = *state;

	t->named[1]->id[0] = '\0';
	assert_ok(sonde_view_add(&v, 1, NULL));
	begin(t);
	tell_cell(t, 0, 1, 100, 0);
	end(t);
	assert_int_equal(look(t, &v, &e), 1);
	assert_int_equal(e.n, 0);
	(void)snprintf(t->named[1]->id, SONDE_PROCESS_ID_MAX, "now");
	assert_int_equal(sent(t, &v), 100);
}

static void a_pid_that_left_is_seen_no_more(void **state)
{
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	struct stage *t = *state;

	assert_ok(sonde_view_add(&v, 2, NULL));
	assert_ok(sonde_view_add(&v, 1, NULL));
	assert_true(sonde_view_has(&v, 1) && sonde_view_has(&v, 2));
	sonde_view_remove(&v, 1);
	assert_false(sonde_view_has(&v, 1));
	begin(t);
	tell_cell(t, 0, 1, 100, 1);
	end(t);
	assert_int_equal(sent(t, &v), 0);
}

static void records_out_of_range_are_refused_and_counted(void **state)
{
	struct stage *t = *state;
	struct sonde_probe_reply r = {.type = SONDE_PROBE_CELL};

	begin(t);
	r.cell.index = SONDE_SNAPSHOT_CELLS_MAX;
	r.cell.key.role = SONDE_TCP_ROLE_CLIENT;
	assert_err(sonde_snapshot_record(&t->s, &r), EINVAL);
	r = (struct sonde_probe_reply){.type = SONDE_PROBE_HIST};
	assert_err(sonde_snapshot_record(&t->s, &r), EINVAL); /* of no cell */
	r = (struct sonde_probe_reply){.type = SONDE_PROBE_DROP};
	r.drop.drop_class = 99;
	assert_err(sonde_snapshot_record(&t->s, &r), EINVAL);
	tell_cell(t, 0, 1, 1, 0);
	r = (struct sonde_probe_reply){.type = SONDE_PROBE_HIST};
	r.hist.n = 1;
	r.hist.pair[0].bucket = SONDE_HIST_BUCKETS;
	assert_err(sonde_snapshot_record(&t->s, &r), EINVAL);
	assert_int_equal(t->s.refused, 4);
	end(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_of_before_counts_once_it_changes),
		TEST(overlapping_views_are_each_exact),
		TEST(a_worker_that_begins_anew_counts_from_zero),
		TEST(a_histogram_count_may_wrap),
		TEST(drops_are_differences_and_come_without_a_cell_record),
		TEST(what_both_ends_have_is_so_in_a_task_over_both),
		TEST(a_gauge_belongs_to_its_snapshot),
		TEST(what_waits_for_an_id_comes_whole_later),
		TEST(a_pid_that_left_is_seen_no_more),
		TEST(records_out_of_range_are_refused_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
