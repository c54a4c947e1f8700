/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot: what ended, as the kernel summed it up, and what lives, as it is now.
 *
 * A connection that ends while we walk would be in both, or in neither. A cell whose
 * marks are the same before and after the walk has none such. Of the others, those
 * live ones count that a second walk meets again: they ended after the sums were
 * read, if at all. What is missed so is in the next snapshot, and in the last one
 * nothing is, for then the hooks are quiet or gone.
 */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bpf/tcp_hash/payload.h"
#include "collect/tcp/emit.h"
#include "collect/tcp_hash/state.h"
#include "tcp_hash.skel.h"

#define COUNTERS (offsetof(struct sonde_tcp_cell, epoch) / sizeof(uint64_t))

static int by_socket(const void *va, const void *vb)
{
	const struct sonde_hash_live *a = va, *b = vb;

	if (a->sk != b->sk)
		return a->sk < b->sk ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* Reads whole records into @to; the iterator hands out no part of one. */
static int read_live(struct tcp_hash_state *s, struct sonde_hash_live *to, size_t *ret)
{
	struct sonde_hash_live chunk[16];
	_cleanup_close_ int fd = -1;
	size_t n = 0;
	ssize_t got;

	fd = bpf_iter_create(bpf_link__fd(s->object.links[SONDE_HASH_PROGRAM_SNAPSHOT]));
	if (fd < 0)
		return -errno;
	for (size_t fill = 0;;) {
		size_t whole;

		got = read(fd, (char *)chunk + fill, sizeof(chunk) - fill);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			break;
		fill += (size_t)got;
		whole = fill / sizeof(chunk[0]);
		for (size_t i = 0; i < whole; i++) {
			if (n < s->live_limit)
				to[n++] = chunk[i];
			else
				s->unread++;
		}
		fill -= whole * sizeof(chunk[0]);
		memmove(chunk, chunk + whole, fill);
	}
	if (got < 0)
		return -errno;
	qsort(to, n, sizeof(*to), by_socket);
	*ret = n;
	return 0;
}

static bool is_met_again(const struct tcp_hash_state *s, const struct sonde_hash_live *live)
{
	return bsearch(live, s->again, s->n_again, sizeof(*live), by_socket) != NULL;
}

/* The application closed it, which the kernel side counts once the FIN is answered. */
static bool is_closing(const struct sonde_hash_live *live)
{
	return live->closer && live->shut && live->closer <= SONDE_TCP_CLOSE_MAX;
}

static void add_gauges(struct sonde_tcp_cell *cell, const struct sonde_hash_live *live)
{
	uint32_t srtt_us = live->now.srtt_us >> 3, least = live->now.rtt_min_us;

	if (!(live->flags & SONDE_HASH_ESTABLISHED) || live->flags & SONDE_HASH_CLOSE_COUNTED)
		return;
	if (is_closing(live)) {
		cell->closed[live->closer - 1]++;
		return;
	}
	cell->open++;
	if (srtt_us == 0)
		return;
	cell->rtt_sockets++;
	cell->srtt_sum_us += srtt_us;
	cell->rttvar_sum_us += live->now.mdev_us >> 2;
	if (least != UINT32_MAX && least != 0 &&
	    (cell->rtt_min_us == 0 || least < cell->rtt_min_us))
		cell->rtt_min_us = least;
}

static void add_live(struct sonde_tcp_cell *cell, const struct sonde_hash_live *live)
{
	struct sonde_hash_counts n;

	if (live->flags & SONDE_HASH_CLOSED) {
		cell->received_bytes += sonde_hash_rest(&live->now, &live->base, live->flags);
		return;
	}
	sonde_hash_count(&live->now, &live->base, live->flags, &n);
	cell->sent_bytes += n.sent;
	cell->acked_bytes += n.acked;
	cell->received_bytes += n.received;
	cell->arrived_bytes += n.arrived;
	cell->segments_out += n.segments_out;
	cell->segments_in += n.segments_in;
	cell->retransmitted_segments += n.retrans;
	add_gauges(cell, live);
}

static bool is_steady(const struct tcp_hash_state *s)
{
	for (uint32_t i = 0; i < s->n_cells; i++) {
		if (s->cells[i].met && !s->cells[i].steady)
			return false;
	}
	return true;
}

static int gather(struct tcp_hash_state *s)
{
	int r;

	s->n_again = 0;
	r = tcp_hash_cells_read(s);
	if (r == 0)
		r = read_live(s, s->live, &s->n_live);
	if (r == 0)
		r = tcp_hash_cells_compare(s);
	if (r == 0 && !is_steady(s))
		r = read_live(s, s->again, &s->n_again);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < s->n_cells; i++)
		s->cells[i].now = s->cells[i].ended.cell;
	for (size_t i = 0; i < s->n_live; i++) {
		struct hash_cell *cell = tcp_hash_cell_of(s, &s->live[i].key);

		if (cell && (cell->steady || is_met_again(s, &s->live[i])))
			add_live(&cell->now, &s->live[i]);
	}
	return 0;
}

/* A counter never falls: what was told as live and is between both sums now stays told. */
static void keep_told(struct hash_cell *cell)
{
	const uint64_t *before = (const uint64_t *)&cell->told;
	uint64_t *now = (uint64_t *)&cell->now;

	for (size_t i = 0; i < COUNTERS; i++) {
		if (now[i] < before[i])
			now[i] = before[i];
	}
}

static int emit_handshakes(const struct tcp_hash_state *s, const struct hash_cell *cell,
			   struct sonde_collect_sink sink)
{
	struct sonde_tcp_hist hist;

	if (bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.sonde_handshake), &cell->key, &hist) < 0)
		return errno == ENOENT ? 0 : -errno; /* the table was full: sums only */
	return tcp_emit_hist(&hist, cell->index, SONDE_PROBE_HIST_HANDSHAKE, sink);
}

static int emit_cell(const struct tcp_hash_state *s, struct hash_cell *cell,
		     struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_CELL};
	bool handshakes;
	int r;

	keep_told(cell);
	cell->now.epoch = cell->told.epoch;
	if (memcmp(&cell->now, &cell->told, sizeof(cell->now)) == 0)
		return 0;
	cell->now.epoch = s->epoch;
	handshakes = cell->now.handshake_count != cell->told.handshake_count;
	cell->told = cell->now;
	reply.cell.index = cell->index;
	reply.cell.key = cell->key;
	reply.cell.cell = cell->now;
	r = sink.emit(sink.ctx, &reply);
	return r == 0 && handshakes ? emit_handshakes(s, cell, sink) : r;
}

static int emit_losses(const struct tcp_hash_state *s, struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_LOSS};
	int r;

	r = sonde_object_sum(&s->object, s->skel->maps.sonde_losses, SONDE_TCP_LOSS_MAX,
			     reply.loss.count);
	if (r < 0)
		return r;
	reply.loss.count[SONDE_TCP_LOSS_TAG_FAILED] += s->unread;
	reply.loss.count[SONDE_TCP_LOSS_SKIPPED_RUNS] = sonde_object_skipped_runs(&s->object);
	return sink.emit(sink.ctx, &reply);
}

int tcp_hash_snapshot(void *state, struct sonde_collect_sink sink)
{
	struct tcp_hash_state *s = state;
	const struct sonde_target_table targets =
		sonde_object_targets(&s->object, s->skel->maps.sonde_targets);
	int r;

	assert(s);

	r = sonde_object_raise(&s->object);
	if (r < 0)
		return r;
	s->epoch++;
	r = gather(s);
	for (uint32_t i = 0; i < s->n_cells && r == 0; i++)
		r = emit_cell(s, &s->cells[i], sink);
	if (r == 0)
		r = sonde_target_table_emit(&targets, sink);
	if (r == 0)
		r = emit_losses(s, sink);
	if (r == 0)
		r = sonde_object_emit_costs(&s->object, s->skel->maps.sonde_cost, sink);
	sonde_object_drop(&s->object);
	return r;
}
