/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: what the kernel side counts by (socket, process, peer), told; those that are quiet have ended. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "collect/flow-tell.h"
#include "collect/udp/state.h"
#include "udp.skel.h"

#define BATCH 512
#define QUIET_NS (30 * SONDE_NS_PER_S) /* as conntrack has it for UDP */

/* As in flow.bpf.h; compared by the kernel only. */
struct flow_key {
	uint8_t bytes[32];
};

bool udp_flows_wanted(const struct udp_state *s)
{
	return s->object.config.options & SONDE_PROBE_OPTION_FLOWS;
}

int udp_flows_set_up(struct udp_state *s)
{
	if (!udp_flows_wanted(s))
		return 0;
	s->skel->bss->sonde_flows_wanted = true;
	return bpf_map__set_max_entries(s->skel->maps.sonde_flows, SONDE_UDP_FLOWS) < 0 ? -EINVAL
											: 0;
}

struct read_flows {
	struct flow_key *keys;	      /* owned */
	struct sonde_udp_flow *flows; /* owned */
	uint32_t n;
};

static void read_flows_done(struct read_flows *f)
{
	free(f->keys);
	free(f->flows);
}

static int grow(struct read_flows *f, uint32_t *cap)
{
	uint32_t wanted = *cap ? 2 * *cap : BATCH;
	struct flow_key *keys;
	struct sonde_udp_flow *flows;

	if (f->n + BATCH <= *cap)
		return 0;
	keys = reallocarray(f->keys, wanted, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	f->keys = keys;
	flows = reallocarray(f->flows, wanted, sizeof(*flows));
	if (!flows)
		return -ENOMEM;
	f->flows = flows;
	*cap = wanted;
	return 0;
}

/* The whole table, a batch at a time. */
static int read_all(const struct udp_state *s, struct read_flows *f)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_flows), r = 0;
	uint32_t in = 0, out = 0, cap = 0;
	bool first = true, more = true;

	while (more && f->n < SONDE_UDP_FLOWS) {
		uint32_t n = BATCH;

		r = grow(f, &cap);
		if (r < 0)
			return r;
		r = bpf_map_lookup_batch(fd, first ? NULL : &in, &out, f->keys + f->n,
					 f->flows + f->n, &n, NULL);
		if (r < 0 && errno != ENOENT)
			return -errno;
		more = r == 0;
		f->n += n;
		in = out;
		first = false;
	}
	return 0;
}

/* Ended: the socket is closed, or nothing was seen for long. Told once, so it leaves the table. */
static bool has_ended(const struct sonde_udp_flow *f, uint64_t now_ns)
{
	return f->flow.end_ns || now_ns - f->last_ns > QUIET_NS;
}

static int tell_ended(const struct udp_state *s, struct sonde_flow_tell *t,
		      const struct flow_key *key)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_flows);
	struct sonde_udp_flow last;

	/* In one step, so that no datagram is missed between the two; before 5.14 no hash has that. */
	if (bpf_map_lookup_and_delete_elem(fd, key, &last) < 0) {
		if (errno == ENOENT)
			return 0;
		if (bpf_map_lookup_elem(fd, key, &last) < 0 || bpf_map_delete_elem(fd, key) < 0)
			return -errno;
	}
	if (!last.flow.end_ns)
		last.flow.end_ns = last.last_ns;
	last.flow.final = 1;
	return sonde_flow_tell_one(t, &last.flow);
}

static const struct sonde_flow *flow_at(const void *ctx, uint32_t i)
{
	const struct read_flows *f = ctx;

	return &f->flows[i].flow;
}

static int emit(const struct udp_state *s, struct sonde_flow_tell *t, struct read_flows *f)
{
	_cleanup_free_ uint32_t *open = calloc(f->n + 1, sizeof(*open));
	uint64_t now_ns = sonde_mono_ns();
	size_t n_open = 0;
	int r = 0;

	if (!open)
		return -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < f->n; i++) {
		if (has_ended(&f->flows[i], now_ns))
			r = tell_ended(s, t, &f->keys[i]);
		else
			open[n_open++] = i;
	}
	return r < 0 ? r : sonde_flow_tell_open(t, flow_at, f, open, n_open);
}

static int read_rests(const struct udp_state *s, struct sonde_flow_tell *t)
{
	int fd = bpf_map__fd(s->skel->maps.sonde_flow_rests), r = 0;
	struct sonde_flow_rest_key key, *at = NULL;

	for (uint32_t i = 0; r == 0 && i < SONDE_UDP_FLOW_RESTS; i++) {
		struct sonde_flow_rest rest;

		if (bpf_map_get_next_key(fd, at, &key) < 0)
			break;
		at = &key;
		if (bpf_map_lookup_elem(fd, &key, &rest) == 0)
			r = sonde_flow_tell_sum(t, &key, &rest);
	}
	return r;
}

int udp_emit_flows(struct udp_state *s, struct sonde_collect_sink sink)
{
	_cleanup_(sonde_flow_tell_done) struct sonde_flow_tell t = SONDE_FLOW_TELL_INIT(sink);
	_cleanup_(read_flows_done) struct read_flows f = {0};
	int r;

	if (!udp_flows_wanted(s))
		return 0;
	r = read_all(s, &f);
	if (r == 0)
		r = emit(s, &t, &f);
	if (r == 0)
		r = read_rests(s, &t);
	return r < 0 ? r : sonde_flow_tell_end(&t);
}
