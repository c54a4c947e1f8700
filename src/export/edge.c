/* SPDX-License-Identifier: Apache-2.0 */
#include "export/edge.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The cell is counters, u64 each, up to its gauges, which begin with epoch. */
#define COUNTERS (offsetof(struct sonde_tcp_cell, epoch) / sizeof(uint64_t))
_Static_assert(offsetof(struct sonde_tcp_cell, epoch) % sizeof(uint64_t) == 0, "u64 counters");
#define FIELDS (sizeof(struct sonde_tcp_cell) / sizeof(uint64_t))

void sonde_edge_done(struct sonde_edge *e)
{
	if (!e)
		return;
	e->self = sonde_process_unref(e->self);
	e->other = sonde_process_unref(e->other);
	for (size_t i = 0; i < _SONDE_PROBE_HIST_MAX; i++)
		sonde_sparse_hist_done(&e->hists[i]);
	free(e->drops);
	*e = (struct sonde_edge){0};
}

void sonde_edges_done(struct sonde_edges *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++)
		sonde_edge_done(&e->edges[i]);
	free(e->edges);
	*e = (struct sonde_edges){0};
}

int sonde_edges_add(struct sonde_edges *e, struct sonde_edge **ret)
{
	assert(e && ret);

	if (e->n == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 16;
		struct sonde_edge *p = reallocarray(e->edges, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		e->edges = p;
		e->cap = cap;
	}
	e->edges[e->n] = (struct sonde_edge){0};
	*ret = &e->edges[e->n++];
	return 0;
}

void sonde_cell_clear_gauges(struct sonde_tcp_cell *cell)
{
	assert(cell);

	for (size_t i = COUNTERS; i < FIELDS; i++)
		((uint64_t *)cell)[i] = 0;
}

/* All are sums but the epoch, which a sum has none of, and the minimum. */
static void merge_gauges(struct sonde_tcp_cell *to, const struct sonde_tcp_cell *from)
{
	uint64_t rtt_min_us = to->rtt_min_us, epoch = to->epoch;
	const uint64_t *add = (const uint64_t *)from;
	uint64_t *sum = (uint64_t *)to;

	if (from->rtt_min_us && (!rtt_min_us || from->rtt_min_us < rtt_min_us))
		rtt_min_us = from->rtt_min_us;
	for (size_t i = COUNTERS; i < FIELDS; i++)
		sum[i] += add[i];
	to->rtt_min_us = rtt_min_us;
	to->epoch = epoch;
}

static bool add_differences(uint64_t *sum, const uint64_t *new, const uint64_t *old, size_t n)
{
	bool grew = false;

	for (size_t i = 0; i < n; i++) {
		uint64_t before = old ? old[i] : 0;

		/* Counters only grow; one that fell would be a fault of the probe, never a huge number. */
		if (new[i] <= before)
			continue;
		sum[i] += new[i] - before;
		grew = true;
	}
	return grew;
}

bool sonde_cell_add_difference(struct sonde_tcp_cell *to, const struct sonde_tcp_cell *now,
			       const struct sonde_tcp_cell *then, bool gauges)
{
	bool grew;

	assert(to && now);

	grew = add_differences((uint64_t *)to, (const uint64_t *)now, (const uint64_t *)then,
			       COUNTERS);
	if (gauges)
		merge_gauges(to, now);
	return grew;
}

#define UDP_COUNTERS (sizeof(struct sonde_udp_cell) / sizeof(uint64_t))
_Static_assert(sizeof(struct sonde_udp_cell) % sizeof(uint64_t) == 0, "u64 counters");

bool sonde_udp_cell_add_difference(struct sonde_udp_cell *to, const struct sonde_udp_cell *now,
				   const struct sonde_udp_cell *then)
{
	assert(to && now);

	return add_differences((uint64_t *)to, (const uint64_t *)now, (const uint64_t *)then,
			       UDP_COUNTERS);
}

#define CALLS_COUNTERS (sizeof(struct sonde_tcp_calls) / sizeof(uint64_t))
_Static_assert(sizeof(struct sonde_tcp_calls) % sizeof(uint64_t) == 0, "u64 counters");

bool sonde_calls_add_difference(struct sonde_tcp_calls *to, const struct sonde_tcp_calls *now,
				const struct sonde_tcp_calls *then)
{
	assert(to && now);

	return add_differences((uint64_t *)to, (const uint64_t *)now, (const uint64_t *)then,
			       CALLS_COUNTERS);
}

void sonde_edges_drop_times(struct sonde_edges *e)
{
	static const enum sonde_tcp_call_hist times[] = {
		SONDE_TCP_CALL_HIST_WRITE_TIME, SONDE_TCP_CALL_HIST_READ_TIME,
		SONDE_TCP_CALL_HIST_CLOSE_TIME, SONDE_TCP_CALL_HIST_ACCEPT_QUEUE};

	assert(e);

	for (size_t i = 0; i < e->n; i++) {
		struct sonde_tcp_calls *calls = &e->edges[i].calls;
		struct sonde_tcp_calls kept = {0};

		memcpy(kept.calls, calls->calls, sizeof(kept.calls));
		*calls = kept;
		for (size_t k = 0; k < ELEMENTS_OF(times); k++)
			sonde_sparse_hist_done(
				&e->edges[i].hists[SONDE_PROBE_HIST_CALL + times[k]]);
	}
}

int sonde_edge_drops_append(struct sonde_edge_drop **drops, size_t *n,
			    const struct sonde_edge_drop *drop)
{
	struct sonde_edge_drop *p;

	assert(drops && n && drop);

	p = reallocarray(*drops, *n + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p[(*n)++] = *drop;
	*drops = p;
	return 0;
}

bool sonde_edge_drop_same_site(const struct sonde_edge_drop *a, const struct sonde_edge_drop *b)
{
	assert(a && b);

	return a->event == b->event && a->direction == b->direction && a->where == b->where &&
	       a->site_number == b->site_number && strcmp(a->reason, b->reason) == 0;
}

static bool same_row(const struct sonde_edge_drop *a, const struct sonde_edge_drop *b)
{
	return a->event == b->event && a->direction == b->direction && a->where == b->where &&
	       a->class == b->class && strcmp(a->reason, b->reason) == 0 &&
	       strcmp(a->site, b->site) == 0;
}

int sonde_edge_add_drop(struct sonde_edge *e, const struct sonde_edge_drop *drop)
{
	struct sonde_edge_drop *p;

	assert(e && drop);

	for (size_t i = 0; i < e->n_drops; i++) {
		p = &e->drops[i];
		if (!same_row(p, drop))
			continue;
		p->drop.skbs += drop->drop.skbs;
		p->drop.segments += drop->drop.segments;
		p->drop.bytes += drop->drop.bytes;
		return 0;
	}
	return sonde_edge_drops_append(&e->drops, &e->n_drops, drop);
}

int sonde_edge_merge(struct sonde_edge *to, const struct sonde_edge *from)
{
	int r = 0;

	assert(to && from);

	(void)sonde_cell_add_difference(&to->cell, &from->cell, NULL, true);
	(void)sonde_udp_cell_add_difference(&to->udp, &from->udp, NULL);
	(void)sonde_calls_add_difference(&to->calls, &from->calls, NULL);
	to->changed = to->changed || from->changed;
	for (size_t i = 0; r == 0 && i < _SONDE_PROBE_HIST_MAX; i++)
		r = sonde_sparse_hist_merge(&to->hists[i], &from->hists[i]);
	for (size_t i = 0; r == 0 && i < from->n_drops; i++)
		r = sonde_edge_add_drop(to, &from->drops[i]);
	return r;
}
