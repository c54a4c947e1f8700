/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot: fold in the kernel, then tell what changed. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bpf/tcp/tcp_hist.h"
#include "collect/cells.h"
#include "collect/tcp/state.h"
#include "tcp.skel.h"

#define COUNTERS (offsetof(struct sonde_tcp_cell, epoch) / sizeof(uint64_t))

/*
 * A copy of the live cell in which no counter is below what was told before (a
 * FIN that was seen as payload for a moment is taken back) and gauges are of this
 * snapshot: a cell that it did not visit has nothing open.
 */
static void copy_cell(const struct tcp_state *s, const struct sonde_tcp_cell *live,
		      const struct sonde_tcp_cell *before, struct sonde_tcp_cell *now)
{
	const uint64_t *b = (const uint64_t *)before;
	uint64_t *n = (uint64_t *)now;

	*now = *live;
	for (size_t i = 0; i < COUNTERS; i++) {
		if (n[i] < b[i])
			n[i] = b[i];
	}
	if (now->epoch != s->epoch)
		memset(&now->epoch, 0, sizeof(*now) - offsetof(struct sonde_tcp_cell, epoch));
	now->epoch = s->epoch;
}

static bool cell_changed(const struct sonde_tcp_cell *before, struct sonde_tcp_cell *now)
{
	uint64_t epoch = now->epoch;
	bool changed;

	now->epoch = before->epoch;
	changed = memcmp(before, now, sizeof(*now)) != 0;
	now->epoch = epoch;
	return changed;
}

int tcp_emit_hist(const struct sonde_tcp_hist *hist, uint32_t index, uint32_t kind,
		  struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_HIST};
	int r;

	reply.hist.index = index;
	reply.hist.kind = (uint16_t)kind;
	for (uint32_t i = 0; i < SONDE_HIST_BUCKETS; i++) {
		uint32_t count = *(const volatile uint32_t *)&hist->count[i];

		if (count == 0)
			continue;
		reply.hist.pair[reply.hist.n].bucket = (uint16_t)i;
		reply.hist.pair[reply.hist.n].count = count;
		if (++reply.hist.n < SONDE_PROBE_HIST_CHUNK)
			continue;
		r = sink.emit(sink.ctx, &reply);
		if (r < 0)
			return r;
		reply = (struct sonde_probe_reply){.type = SONDE_PROBE_HIST};
		reply.hist.index = index;
		reply.hist.kind = (uint16_t)kind;
	}
	return reply.hist.n > 0 ? sink.emit(sink.ctx, &reply) : 0;
}

/* Fits one record: it has fewer buckets than a record has pairs. */
static int emit_age(const struct tcp_state *s, uint32_t index, struct sonde_collect_sink sink)
{
	const struct sonde_tcp_age *age = sonde_table_at(&s->age, index);
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_HIST};
	struct sonde_probe_hist *hist = &reply.hist;

	_Static_assert(SONDE_TCP_AGE_BUCKETS <= SONDE_PROBE_HIST_CHUNK, "ages in one record");

	hist->index = index;
	hist->kind = SONDE_PROBE_HIST_AGE;
	for (uint32_t i = 0; i < SONDE_TCP_AGE_BUCKETS; i++) {
		uint32_t count = *(const volatile uint32_t *)&age->count[i];

		if (count == 0)
			continue;
		hist->pair[hist->n].bucket = (uint16_t)sonde_age_hist_bucket(i);
		hist->pair[hist->n].count = count;
		hist->n++;
	}
	return hist->n > 0 ? sink.emit(sink.ctx, &reply) : 0;
}

static int emit_cell(void *ctx, uint32_t index, struct sonde_collect_sink sink)
{
	struct tcp_state *s = ctx;
	const struct sonde_tcp_slot *slot = sonde_table_at(&s->cells, index);
	struct tcp_told *told = sonde_told_at(&s->told, index);
	struct sonde_tcp_cell *before = &told->cell;
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_CELL};
	struct sonde_tcp_cell *now = &reply.cell.cell;
	bool rtt, handshake, age, calls;
	int r;

	if (!__atomic_load_n(&slot->used, __ATOMIC_ACQUIRE))
		return 0;
	copy_cell(s, &slot->cell, before, now);
	calls = tcp_calls_changed(s, index);
	if (!cell_changed(before, now) && !calls)
		return 0;
	rtt = now->rtt_count != before->rtt_count;
	handshake = now->handshake_count != before->handshake_count;
	age = memcmp(now->closed, before->closed, sizeof(now->closed)) != 0;
	*before = *now;
	reply.cell.index = index;
	reply.cell.key = slot->key;
	r = sink.emit(sink.ctx, &reply);
	if (r == 0 && rtt)
		r = tcp_emit_hist(sonde_table_at(&s->rtt, index), index, SONDE_PROBE_HIST_RTT,
				  sink);
	if (r == 0 && handshake)
		r = tcp_emit_sparse(s, index, SONDE_TCP_SPARSE_HANDSHAKE,
				    SONDE_PROBE_HIST_HANDSHAKE, sink);
	if (r == 0 && age)
		r = emit_age(s, index, sink);
	if (r == 0 && calls)
		r = tcp_emit_calls(s, index, sink);
	return r;
}

static int emit_cells(struct tcp_state *s, struct sonde_collect_sink sink)
{
	const struct sonde_cells cells = {
		.next_cell = &s->skel->bss->sonde_next_cell,
		.next_other = &s->skel->bss->sonde_next_other,
		.told = &s->told,
		.tables = {&s->cells, &s->rtt, &s->age, &s->calls, &s->coarse},
		.emit = emit_cell,
		.ctx = s,
	};

	return sonde_cells_emit(&cells, &s->object, sink);
}

static int emit_losses(struct tcp_state *s, struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_LOSS};
	int r;

	r = sonde_object_sum(&s->object, s->skel->maps.sonde_losses, SONDE_TCP_LOSS_MAX,
			     reply.loss.count);
	if (r < 0)
		return r;
	reply.loss.count[SONDE_TCP_LOSS_SKIPPED_RUNS] = sonde_object_skipped_runs(&s->object) +
							sonde_object_skipped_runs(&s->timing) +
							s->timing_skipped;
	reply.loss.count[SONDE_TCP_LOSS_END_UNSEEN] = s->ends_unseen;
	return sink.emit(sink.ctx, &reply);
}

/*
 * Folds every tagged socket, and counts the connections whose end no hook saw:
 * begun before the walk, not met by it, not ended after it. Those that began or
 * ended during the walk can only make this less, so it is true at any load and
 * exact in a quiet moment.
 */
static int fold_sockets(struct tcp_state *s)
{
	uint64_t begun, ended, alive;
	int r;

	s->epoch++;
	__atomic_store_n(&s->skel->data->sonde_epoch, s->epoch, __ATOMIC_RELEASE);
	s->skel->bss->sonde_alive = 0;
	tcp_flows_begin(s);
	begun = __atomic_load_n(&s->skel->bss->sonde_begun, __ATOMIC_SEQ_CST);
	r = sonde_object_iterate(&s->object, SONDE_TCP_PROGRAM_SNAPSHOT);
	if (r < 0)
		return r;
	ended = __atomic_load_n(&s->skel->bss->sonde_ended, __ATOMIC_SEQ_CST);
	alive = s->skel->bss->sonde_alive;
	if (begun > ended + alive && begun - ended - alive > s->ends_unseen)
		s->ends_unseen = begun - ended - alive;
	return 0;
}

int tcp_snapshot(void *state, struct sonde_collect_sink sink)
{
	struct tcp_state *s = state;
	int r;

	assert(s);

	r = sonde_object_raise(&s->object);
	if (r < 0)
		return r;
	r = fold_sockets(s);
	if (r == 0)
		r = emit_cells(s, sink);
	if (r == 0)
		r = tcp_emit_drops(s, sink);
	if (r == 0)
		r = tcp_emit_processes(s, sink);
	if (r == 0)
		r = tcp_emit_flows(s, sink);
	if (r == 0)
		r = emit_losses(s, sink);
	if (r == 0)
		r = sonde_object_emit_costs(&s->object, s->skel->maps.sonde_cost, sink);
	sonde_object_drop(&s->object);
	if (r == 0)
		r = tcp_programs_attach_wanted(s);
	return r;
}
