/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/flows.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/flows-internal.h"
#include "model/flow-rest.h"

void sonde_flows_done(struct sonde_flows *f)
{
	if (!f)
		return;
	free(f->ended);
	free(f->open);
	free(f->told);
	free(f->base);
	free(f->seen);
	sonde_services_done(&f->services);
	*f = (struct sonde_flows){.wanted = f->wanted};
}

int sonde_flow_compare_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t bytes_of(const struct sonde_flow *f)
{
	return f->sent_bytes + f->received_bytes;
}

static void add_flow(struct sonde_flow_rest *to, const struct sonde_flow *flow)
{
	const struct sonde_flow_rest one = sonde_flow_rest_of(flow);

	sonde_flow_rest_add(to, &one);
}

/* Room for one more in an array of at most @max, which doubles. */
static int reserve(struct sonde_flow **list, size_t n, size_t *cap, size_t max)
{
	struct sonde_flow *grown_list;
	size_t wanted = *cap ? *cap * 2 : 16;

	if (n < *cap)
		return 0;
	if (wanted > max)
		wanted = max;
	grown_list = reallocarray(*list, wanted, sizeof(*grown_list));
	if (!grown_list)
		return -ENOMEM;
	*list = grown_list;
	*cap = wanted;
	return 0;
}

static void swap(struct sonde_flow *a, struct sonde_flow *b)
{
	struct sonde_flow held = *a;

	*a = *b;
	*b = held;
}

static void sift_up(struct sonde_flow *heap, size_t at)
{
	while (at > 0 && bytes_of(&heap[at]) < bytes_of(&heap[(at - 1) / 2])) {
		swap(&heap[at], &heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
}

static void sift_down(struct sonde_flow *heap, size_t n)
{
	size_t at = 0, child;

	while ((child = 2 * at + 1) < n) {
		if (child + 1 < n && bytes_of(&heap[child + 1]) < bytes_of(&heap[child]))
			child++;
		if (bytes_of(&heap[at]) <= bytes_of(&heap[child]))
			return;
		swap(&heap[at], &heap[child]);
		at = child;
	}
}

/* The smallest gives way to a larger one, and is summed. */
static int take_ended(struct sonde_flows *f, const struct sonde_flow *flow)
{
	int r;

	if (f->n_ended == SONDE_FLOWS_ENDED_MAX) {
		if (bytes_of(flow) <= bytes_of(&f->ended[0])) {
			add_flow(&f->ended_rest, flow);
			return 0;
		}
		add_flow(&f->ended_rest, &f->ended[0]);
		f->ended[0] = *flow;
		sift_down(f->ended, f->n_ended);
		return 0;
	}
	r = reserve(&f->ended, f->n_ended, &f->cap_ended, SONDE_FLOWS_ENDED_MAX);
	if (r < 0) {
		add_flow(&f->ended_rest, flow);
		return r;
	}
	f->ended[f->n_ended] = *flow;
	sift_up(f->ended, f->n_ended++);
	return 0;
}

static int take_open(struct sonde_flows *f, const struct sonde_flow *flow)
{
	int r;

	r = reserve(&f->open, f->n_open, &f->cap_open, SONDE_SNAPSHOT_FLOWS_MAX);
	if (r < 0) {
		add_flow(&f->open_rest, flow);
		return r;
	}
	f->open[f->n_open++] = *flow;
	return 0;
}

/* The extremes of RTT stay those of the connection: they cannot be taken back. */
static void subtract_base(const struct sonde_flows *f, struct sonde_flow *flow)
{
	const struct sonde_flow_base *b = NULL;
	struct sonde_flow_rest now;

	if (f->n_base)
		b = bsearch(&flow->id, f->base, f->n_base, sizeof(*b), sonde_flow_compare_id);
	if (!b)
		return;
	now = sonde_flow_rest_of(flow);
	now = sonde_flow_rest_growth(&now, &b->sums);
	flow->sent_bytes = now.sent_bytes;
	flow->received_bytes = now.received_bytes;
	flow->segments_out = now.segments_out;
	flow->segments_in = now.segments_in;
	flow->retransmits = (uint32_t)now.retransmits;
	flow->drops = (uint32_t)now.drops;
	flow->rtt_count = (uint32_t)now.rtt_count;
	flow->rtt_sum_us = now.rtt_sum_us;
}

int sonde_flows_join(struct sonde_flows *f, const struct sonde_snapshot *s, uint32_t pid)
{
	struct sonde_flow_base *base;
	size_t n = 0;

	assert(f && s);

	for (size_t i = 0; i < s->n_flows; i++)
		n += s->flows[i].pid == pid && !s->flows[i].final;
	if (!f->wanted || n == 0)
		return 0;
	base = reallocarray(f->base, f->n_base + n, sizeof(*base));
	if (!base)
		return -ENOMEM;
	f->base = base;
	for (size_t i = 0; i < s->n_flows; i++) {
		if (s->flows[i].pid != pid || s->flows[i].final)
			continue;
		base[f->n_base].id = s->flows[i].id;
		base[f->n_base++].sums = sonde_flow_rest_of(&s->flows[i]);
	}
	qsort(base, f->n_base, sizeof(*base), sonde_flow_compare_id);
	return 0;
}

/* What the probe's sum of ended ones grew by; nothing for a sum that was there before the task. */
static int grow_seen(struct sonde_flows *f, const struct sonde_probe_flow_rest *now,
		     struct sonde_flow_rest *ret)
{
	struct sonde_flow_seen *seen = NULL;

	for (size_t i = 0; i < f->n_seen && !seen; i++) {
		if (memcmp(&f->seen[i].key, &now->key, sizeof(now->key)) == 0)
			seen = &f->seen[i];
	}
	if (!seen) {
		seen = reallocarray(f->seen, f->n_seen + 1, sizeof(*seen));
		if (!seen)
			return -ENOMEM;
		f->seen = seen;
		seen += f->n_seen++;
		*seen = (struct sonde_flow_seen){.key = now->key};
	}
	*ret = sonde_flow_rest_growth(&now->rest, &seen->rest);
	seen->rest = now->rest;
	return 0;
}

int sonde_flows_begin(struct sonde_flows *f, const struct sonde_snapshot *s)
{
	struct sonde_flow_rest before;
	int r = 0;

	assert(f && s);

	if (!f->wanted)
		return 0;
	f->n_seen = 0;
	f->n_base = 0;
	for (size_t i = 0; r == 0 && i < s->n_flow_rests; i++) {
		if (!s->flow_rests[i].key.open)
			r = grow_seen(f, &s->flow_rests[i], &before);
	}
	return r;
}

static int take_rest(struct sonde_flows *f, const struct sonde_probe_flow_rest *rest, bool ours)
{
	struct sonde_flow_rest difference;
	int r;

	if (rest->key.open) {
		if (ours)
			sonde_flow_rest_add(&f->open_rest, &rest->rest);
		return 0;
	}
	/* Of everybody's, so that a process that joins later begins with what it has by then. */
	r = grow_seen(f, rest, &difference);
	if (r == 0 && ours)
		sonde_flow_rest_add(&f->ended_rest, &difference);
	return r;
}

static int by_bytes(const void *a, const void *b)
{
	const struct sonde_flow *x = a, *y = b;

	if (bytes_of(x) != bytes_of(y))
		return bytes_of(x) < bytes_of(y) ? 1 : -1;
	return sonde_flow_compare_id(a, b);
}

int sonde_flows_take(struct sonde_flows *f, const struct sonde_snapshot *s,
		     const struct sonde_view *v)
{
	int r = 0, e;

	assert(f && s && v);

	if (!f->wanted)
		return 0;
	f->n_open = 0;
	f->open_rest = (struct sonde_flow_rest){0};
	sonde_services_begin(&f->services);
	for (size_t i = 0; i < s->n_flows; i++) {
		struct sonde_flow flow = s->flows[i];

		if (!sonde_view_sees(v, flow.pid, flow.protocol))
			continue;
		e = sonde_services_take(&f->services, &flow);
		r = e < 0 ? e : r;
		subtract_base(f, &flow);
		e = flow.final ? take_ended(f, &flow) : take_open(f, &flow);
		r = e < 0 ? e : r;
	}
	for (size_t i = 0; i < s->n_flow_rests; i++) {
		const struct sonde_probe_flow_rest *rest = &s->flow_rests[i];

		e = take_rest(f, rest, sonde_view_sees(v, rest->key.pid, rest->key.protocol));
		r = e < 0 ? e : r;
	}
	if (f->n_open > 1)
		qsort(f->open, f->n_open, sizeof(f->open[0]), by_bytes);
	while (f->n_open > SONDE_FLOWS_OPEN_MAX)
		add_flow(&f->open_rest, &f->open[--f->n_open]);
	return r;
}
