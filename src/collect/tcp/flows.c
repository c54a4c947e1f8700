/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: the connections of a snapshot, told one by one or summed. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "collect/tcp/state.h"
#include "model/drop-class.h"
#include "tcp.skel.h"

#define UNPUBLISHED_TRIES                                                                          \
	64 /* a producer was interrupted between taking its place and filling it */

bool tcp_flows_wanted(const struct tcp_state *s)
{
	return s->config.options & SONDE_PROBE_OPTION_FLOWS;
}

/* The reasons whose class is loss, by this kernel's numbers. */
static void set_loss_reasons(struct tcp_state *s)
{
	__u64 *words = s->skel->rodata->sonde_loss_reasons;
	char name[64];

	for (uint32_t i = 0; i < 64 * SONDE_TCP_LOSS_REASON_WORDS; i++) {
		tcp_drop_reason_name(s->plan.names, i, name, sizeof(name));
		if (sonde_drop_class_of(name) == SONDE_DROP_LOSS)
			words[i / 64] |= 1ULL << i % 64;
	}
}

int tcp_flows_set_up(struct tcp_state *s)
{
	struct tcp_bpf *skel = s->skel;

	if (!tcp_flows_wanted(s))
		return 0;
	set_loss_reasons(s);
	skel->rodata->sonde_ring_slots = SONDE_TCP_ENDED_SLOTS;
	skel->rodata->sonde_list_slots = SONDE_TCP_OPEN_SLOTS;
	skel->bss->sonde_flows_wanted = true;
	if (bpf_map__set_max_entries(skel->maps.sonde_flow_ring, SONDE_TCP_ENDED_SLOTS) < 0 ||
	    bpf_map__set_max_entries(skel->maps.sonde_flow_list, SONDE_TCP_OPEN_SLOTS) < 0)
		return -EINVAL;
	return 0;
}

void tcp_flows_begin(struct tcp_state *s)
{
	s->skel->bss->sonde_list_used = 0;
	s->ended_before = __atomic_load_n(&s->skel->bss->sonde_ring_head, __ATOMIC_ACQUIRE);
}

struct flow_chunk {
	struct sonde_probe_reply reply;
	struct sonde_collect_sink sink;
};

static int flush(struct flow_chunk *c)
{
	int r = c->reply.flow.n ? c->sink.emit(c->sink.ctx, &c->reply) : 0;

	c->reply = (struct sonde_probe_reply){.type = SONDE_PROBE_FLOW};
	return r;
}

static int tell(struct flow_chunk *c, const struct sonde_flow *flow)
{
	c->reply.flow.flow[c->reply.flow.n++] = *flow;
	return c->reply.flow.n == SONDE_PROBE_FLOW_CHUNK ? flush(c) : 0;
}

/* NULL: nothing more is published at @turn. */
static const struct sonde_flow *ended_at(const struct tcp_state *s, uint64_t turn)
{
	const struct sonde_tcp_ended *slot =
		sonde_table_at(&s->ended, turn & (SONDE_TCP_ENDED_SLOTS - 1));

	for (unsigned int i = 0; i < UNPUBLISHED_TRIES; i++) {
		if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) == turn + 1)
			return &slot->flow;
		(void)sched_yield();
	}
	return NULL;
}

/* The slots that were ever used up to @head: all, once the ring has turned. */
static int map_ended(struct tcp_state *s, uint64_t head)
{
	if (head == 0)
		return 0;
	return sonde_table_map(&s->ended,
			       head < SONDE_TCP_ENDED_SLOTS ? head : SONDE_TCP_ENDED_SLOTS);
}

static int emit_ended(struct tcp_state *s, struct flow_chunk *chunk)
{
	uint64_t tail = s->skel->bss->sonde_ring_tail;
	int r;

	r = map_ended(s, s->ended_until);
	for (; r == 0 && tail != s->ended_until; tail++) {
		const struct sonde_flow *flow = ended_at(s, tail);

		if (!flow)
			break;
		r = tell(chunk, flow);
	}
	/* Behind the last read: the slots are the producers' again. */
	__atomic_store_n(&s->skel->bss->sonde_ring_tail, tail, __ATOMIC_RELEASE);
	return r;
}

static int compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Connections that the snapshot visited and that ended before it was read: told as ended alone. */
static int collect_just_ended(struct tcp_state *s, uint64_t **ret, size_t *ret_n)
{
	uint64_t head = s->ended_until;
	size_t n = 0;
	uint64_t *ids;
	int r;

	if (head == s->ended_before)
		return 0;
	r = map_ended(s, head);
	if (r < 0)
		return r;
	ids = calloc(head - s->ended_before, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	for (uint64_t turn = s->ended_before; turn != head; turn++) {
		const struct sonde_flow *flow = ended_at(s, turn);

		if (!flow)
			break;
		ids[n++] = flow->id;
	}
	qsort(ids, n, sizeof(*ids), compare_ids);
	*ret = ids;
	*ret_n = n;
	return 0;
}

static uint64_t flow_bytes(const struct tcp_state *s, uint32_t i)
{
	const struct sonde_flow *f = sonde_table_at(&s->open, i);

	return f->sent_bytes + f->received_bytes;
}

/* Brings the @k largest of @order's @n to its front, in no order. */
static void select_largest(const struct tcp_state *s, uint32_t *order, size_t n, size_t k)
{
	size_t low = 0, high = n;

	while (high - low > 1 && k > low && k < high) {
		uint64_t pivot = flow_bytes(s, order[low + (high - low) / 2]);
		size_t i = low, j = high - 1;

		for (;;) {
			uint32_t held;

			while (flow_bytes(s, order[i]) > pivot)
				i++;
			while (flow_bytes(s, order[j]) < pivot)
				j--;
			if (i >= j)
				break;
			held = order[i];
			order[i++] = order[j];
			order[j--] = held;
		}
		/* [low, i) is at least the pivot, [i, high) at most. */
		if (i == low)
			i++;
		if (k <= i && i < high)
			high = i;
		else
			low = i;
	}
}

static int find_rest(struct tcp_state *s, const struct sonde_flow_rest_key *key,
		     struct sonde_flow_rest **ret)
{
	struct tcp_rest *grown;

	for (size_t i = 0; i < s->n_rests; i++) {
		if (memcmp(&s->rests[i].key, key, sizeof(*key)) != 0)
			continue;
		*ret = &s->rests[i].rest;
		return 0;
	}
	grown = reallocarray(s->rests, s->n_rests + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->rests = grown;
	grown[s->n_rests] = (struct tcp_rest){.key = *key};
	*ret = &grown[s->n_rests++].rest;
	return 0;
}

static void add_rest(struct sonde_flow_rest *to, const struct sonde_flow_rest *from)
{
	to->connections += from->connections;
	to->sent_bytes += from->sent_bytes;
	to->received_bytes += from->received_bytes;
	to->segments_out += from->segments_out;
	to->segments_in += from->segments_in;
	to->retransmits += from->retransmits;
	to->drops += from->drops;
	to->rtt_count += from->rtt_count;
	to->rtt_sum_us += from->rtt_sum_us;
}

static int sum_open(struct tcp_state *s, const struct sonde_flow *f)
{
	const struct sonde_flow_rest_key key = {
		.pid = f->pid, .protocol = f->protocol, .role = f->role, .open = 1};
	const struct sonde_flow_rest one = {
		.connections = 1,
		.sent_bytes = f->sent_bytes,
		.received_bytes = f->received_bytes,
		.segments_out = f->segments_out,
		.segments_in = f->segments_in,
		.retransmits = f->retransmits,
		.drops = f->drops,
		.rtt_count = f->rtt_count,
		.rtt_sum_us = f->rtt_sum_us,
	};
	struct sonde_flow_rest *rest;
	int r;

	r = find_rest(s, &key, &rest);
	if (r == 0)
		add_rest(rest, &one);
	return r;
}

static int order_open(struct tcp_state *s, uint32_t n, uint32_t **ret, size_t *ret_n)
{
	_cleanup_free_ uint64_t *ended = NULL;
	_cleanup_free_ uint32_t *order = NULL;
	size_t n_ended = 0, kept = 0;
	int r;

	r = collect_just_ended(s, &ended, &n_ended);
	if (r < 0)
		return r;
	order = calloc(n, sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct sonde_flow *f = sonde_table_at(&s->open, i);

		if (!n_ended || !bsearch(&f->id, ended, n_ended, sizeof(*ended), compare_ids))
			order[kept++] = i;
	}
	*ret = TAKE_PTR(order);
	*ret_n = kept;
	return 0;
}

static int emit_open(struct tcp_state *s, struct flow_chunk *chunk)
{
	uint32_t n = s->skel->bss->sonde_list_used;
	_cleanup_free_ uint32_t *order = NULL;
	size_t kept = 0, told;
	int r;

	if (n > SONDE_TCP_OPEN_SLOTS)
		n = SONDE_TCP_OPEN_SLOTS;
	if (n == 0)
		return 0;
	r = sonde_table_map(&s->open, n);
	if (r == 0)
		r = order_open(s, n, &order, &kept);
	if (r < 0)
		return r;
	told = kept < chunk->sink.open_flows ? kept : chunk->sink.open_flows;
	select_largest(s, order, kept, told);
	for (size_t i = 0; r == 0 && i < kept; i++) {
		const struct sonde_flow *f = sonde_table_at(&s->open, order[i]);

		r = i < told ? tell(chunk, f) : sum_open(s, f);
	}
	return r;
}

/* What the kernel side summed itself, for want of a slot. */
static int read_rests(struct tcp_state *s)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_flow_rests);
	struct sonde_flow_rest_key key, *at = NULL;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < SONDE_TCP_FLOW_RESTS; i++) {
		struct sonde_tcp_flow_rest slot;
		struct sonde_flow_rest *rest;

		if (bpf_map_get_next_key(fd, at, &key) < 0)
			break;
		at = &key;
		if (bpf_map_lookup_elem(fd, &key, &slot) < 0 ||
		    (key.open && slot.epoch != s->epoch))
			continue;
		r = find_rest(s, &key, &rest);
		if (r == 0)
			add_rest(rest, &slot.rest);
	}
	return r;
}

static int emit_rests(struct tcp_state *s, struct sonde_collect_sink sink)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_rests; i++) {
		struct sonde_probe_reply reply = {.type = SONDE_PROBE_FLOW_REST};

		reply.flow_rest.key = s->rests[i].key;
		reply.flow_rest.rest = s->rests[i].rest;
		r = sink.emit(sink.ctx, &reply);
	}
	return r;
}

int tcp_emit_flows(struct tcp_state *s, struct sonde_collect_sink sink)
{
	struct flow_chunk chunk = {.reply = {.type = SONDE_PROBE_FLOW}, .sink = sink};
	int r;

	if (!tcp_flows_wanted(s))
		return 0;
	s->n_rests = 0;
	/* Once: what ends from here on is still open to this snapshot. */
	s->ended_until = __atomic_load_n(&s->skel->bss->sonde_ring_head, __ATOMIC_ACQUIRE);
	r = emit_open(s, &chunk);
	if (r == 0)
		r = emit_ended(s, &chunk);
	if (r == 0)
		r = flush(&chunk);
	if (r == 0)
		r = read_rests(s);
	if (r == 0)
		r = emit_rests(s, sink);
	return r;
}
