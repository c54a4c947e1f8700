/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: the connections of a snapshot, told one by one or summed. */
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "collect/flow-tell.h"
#include "collect/tcp/state.h"
#include "model/drop-class.h"
#include "tcp.skel.h"

/*
 * A producer was interrupted between taking its place and filling it: by interrupts, or its virtual CPU's absence.
 * Each wait is some 100 us with the kernel's timer slack, so all of them 4 to 5 ms, and more on a busy machine.
 */
#define UNPUBLISHED_TRIES 40
#define UNPUBLISHED_WAIT_NS 50000

bool tcp_flows_wanted(const struct tcp_state *s)
{
	return s->object.config.options & SONDE_PROBE_OPTION_FLOWS;
}

/* The reasons whose class is loss, by this kernel's numbers. */
static void set_loss_reasons(struct tcp_state *s)
{
	__u64 *words = s->skel->rodata->sonde_loss_reasons;
	char name[64];

	for (uint32_t i = 0; i < 64 * SONDE_TCP_LOSS_REASON_WORDS; i++) {
		tcp_drop_reason_name(s->object.plan.names, i, name, sizeof(name));
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

/*
 * NULL: nothing more is published at @turn. What is behind it is then told by the next snapshot: for one interval such a
 * connection is neither among the open nor the ended, which is why it is waited for.
 */
static const struct sonde_flow *ended_at(const struct tcp_state *s, uint64_t turn)
{
	const struct sonde_tcp_ended *slot =
		sonde_table_at(&s->ended, turn & (SONDE_TCP_ENDED_SLOTS - 1));

	for (unsigned int i = 0; i < UNPUBLISHED_TRIES; i++) {
		if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) == turn + 1)
			return &slot->flow;
		(void)nanosleep(&(struct timespec){.tv_nsec = UNPUBLISHED_WAIT_NS}, NULL);
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

static int emit_ended(struct tcp_state *s, struct sonde_flow_tell *t)
{
	uint64_t tail = s->skel->bss->sonde_ring_tail;
	int r;

	r = map_ended(s, s->ended_until);
	for (; r == 0 && tail != s->ended_until; tail++) {
		const struct sonde_flow *flow = ended_at(s, tail);

		if (!flow)
			break;
		r = sonde_flow_tell_one(t, flow);
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

		if (!flow) {
			s->ended_until = turn; /* not written yet: the next snapshot tells it */
			break;
		}
		ids[n++] = flow->id;
	}
	qsort(ids, n, sizeof(*ids), compare_ids);
	*ret = ids;
	*ret_n = n;
	return 0;
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

static const struct sonde_flow *open_at(const void *ctx, uint32_t i)
{
	const struct tcp_state *s = ctx;

	return sonde_table_at(&s->open, i);
}

static int emit_open(struct tcp_state *s, struct sonde_flow_tell *t)
{
	uint32_t n = s->skel->bss->sonde_list_used;
	_cleanup_free_ uint32_t *order = NULL;
	size_t kept = 0;
	int r;

	if (n > SONDE_TCP_OPEN_SLOTS)
		n = SONDE_TCP_OPEN_SLOTS;
	if (n == 0)
		return 0;
	r = sonde_table_map(&s->open, n);
	if (r == 0)
		r = order_open(s, n, &order, &kept);
	return r < 0 ? r : sonde_flow_tell_open(t, open_at, s, order, kept);
}

/* What the kernel side summed itself, for want of a slot. */
static int read_rests(const struct tcp_state *s, struct sonde_flow_tell *t)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_flow_rests);
	struct sonde_flow_rest_key key, *at = NULL;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < SONDE_TCP_FLOW_RESTS; i++) {
		struct sonde_tcp_flow_rest slot;

		if (bpf_map_get_next_key(fd, at, &key) < 0)
			break;
		at = &key;
		if (bpf_map_lookup_elem(fd, &key, &slot) == 0 &&
		    (!key.open || slot.epoch == s->epoch))
			r = sonde_flow_tell_sum(t, &key, &slot.rest);
	}
	return r;
}

int tcp_emit_flows(struct tcp_state *s, struct sonde_collect_sink sink)
{
	_cleanup_(sonde_flow_tell_done) struct sonde_flow_tell t = SONDE_FLOW_TELL_INIT(sink);
	int r;

	if (!tcp_flows_wanted(s))
		return 0;
	/* Once: what ends from here on is still open to this snapshot. */
	s->ended_until = __atomic_load_n(&s->skel->bss->sonde_ring_head, __ATOMIC_ACQUIRE);
	r = emit_open(s, &t);
	if (r == 0)
		r = emit_ended(s, &t);
	if (r == 0)
		r = read_rests(s, &t);
	return r < 0 ? r : sonde_flow_tell_end(&t);
}
