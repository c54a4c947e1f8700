/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define FLOWS_KEPT 4096

struct sonde_cell_state *sonde_cell_state_ref(struct sonde_cell_state *s)
{
	if (s)
		s->refs++;
	return s;
}

struct sonde_cell_state *sonde_cell_state_unref(struct sonde_cell_state *s)
{
	if (!s)
		return NULL;
	assert(s->refs);
	if (--s->refs)
		return NULL;
	for (size_t i = 0; i < _SONDE_PROBE_HIST_MAX; i++)
		sonde_sparse_hist_done(&s->hists[i]);
	free(s->drops);
	free(s);
	return NULL;
}
SONDE_DEFINE_CLEANUP(struct sonde_cell_state *, sonde_cell_state_unref)

void sonde_snapshot_reset(struct sonde_snapshot *s)
{
	uint64_t refused;

	assert(s);

	refused = s->refused;
	for (size_t i = 0; i < s->n_cells; i++)
		(void)sonde_cell_state_unref(s->cells[i]);
	free(s->cells);
	free(s->processes);
	free(s->flows);
	free(s->flow_rests);
	*s = (struct sonde_snapshot){.refused = refused};
}

void sonde_snapshot_done(struct sonde_snapshot *s)
{
	if (!s)
		return;
	sonde_snapshot_reset(s);
	s->refused = 0;
}

void sonde_snapshot_begin(struct sonde_snapshot *s)
{
	assert(s);

	s->epoch = 0;
	s->n_costs = 0;
	s->n_processes = 0;
	s->n_flows = 0;
	s->n_flow_rests = 0;
	/* The memory of a storm is not kept. */
	if (s->cap_flows > FLOWS_KEPT) {
		free(s->flows);
		s->flows = NULL;
		s->cap_flows = 0;
	}
}

static int grow(struct sonde_snapshot *s, size_t n)
{
	struct sonde_cell_state **cells;
	size_t cap = s->n_cells ? s->n_cells : 64;

	if (n <= s->n_cells)
		return 0;
	while (cap < n)
		cap *= 2;
	cells = reallocarray(s->cells, cap, sizeof(void *));
	if (!cells)
		return -ENOMEM;
	memset(cells + s->n_cells, 0, (cap - s->n_cells) * sizeof(void *));
	s->cells = cells;
	s->n_cells = cap;
	return 0;
}

static int copy_drops(struct sonde_cell_state *to, const struct sonde_cell_state *from)
{
	if (from->n_drops == 0)
		return 0;
	to->drops = reallocarray(NULL, from->n_drops, sizeof(to->drops[0]));
	if (!to->drops)
		return -ENOMEM;
	memcpy(to->drops, from->drops, from->n_drops * sizeof(to->drops[0]));
	to->n_drops = from->n_drops;
	return 0;
}

/* The state at @place that this snapshot may write: a copy of the committed one at the first touch. */
static int fresh_state(struct sonde_snapshot *s, size_t place, struct sonde_cell_state **ret)
{
	_cleanup_(sonde_cell_state_unrefp) struct sonde_cell_state *n = NULL;
	const struct sonde_cell_state *old = s->cells[place];
	int r = 0;

	if (old && old->fresh) {
		*ret = s->cells[place];
		return 0;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->refs = 1;
	n->fresh = true;
	if (old) {
		n->key = old->key;
		n->cell = old->cell;
		n->udp = old->udp;
		n->calls = old->calls;
		for (size_t i = 0; r == 0 && i < _SONDE_PROBE_HIST_MAX; i++)
			r = sonde_sparse_hist_copy(&n->hists[i], &old->hists[i]);
		if (r == 0)
			r = copy_drops(n, old);
		if (r < 0)
			return r;
	}
	(void)sonde_cell_state_unref(s->cells[place]);
	*ret = n;
	s->cells[place] = TAKE_PTR(n);
	return 0;
}

/* The state that a CELL or UDP_CELL record is written to, with its key. */
static int told_state(struct sonde_snapshot *s, uint32_t index,
		      const struct sonde_tcp_cell_key *key, struct sonde_cell_state **ret)
{
	size_t place = sonde_snapshot_place(key->protocol, index);
	struct sonde_cell_state *state = NULL;
	int r;

	if (index >= SONDE_SNAPSHOT_CELLS_MAX ||
	    (key->role != SONDE_TCP_ROLE_CLIENT && key->role != SONDE_TCP_ROLE_SERVER))
		return -EINVAL;
	r = grow(s, place + 1);
	if (r < 0)
		return r;
	r = fresh_state(s, place, &state);
	if (r < 0)
		return r;
	state->key = *key;
	state->told = true;
	*ret = state;
	return 0;
}

static int take_cell(struct sonde_snapshot *s, const struct sonde_probe_cell *c)
{
	struct sonde_cell_state *state = NULL;
	int r;

	r = told_state(s, c->index, &c->key, &state);
	if (r < 0)
		return r;
	state->cell = c->cell;
	if (c->cell.epoch > s->epoch)
		s->epoch = c->cell.epoch;
	return 0;
}

static int take_udp_cell(struct sonde_snapshot *s, const struct sonde_probe_udp_cell *c)
{
	struct sonde_cell_state *state = NULL;
	int r;

	r = told_state(s, c->index, &c->key, &state);
	if (r < 0)
		return r;
	state->udp = c->cell;
	return 0;
}

/* The cell that HIST, CALLS and DROP belong to must have come before, in this snapshot or another. */
static int known_state(struct sonde_snapshot *s, uint32_t index, struct sonde_cell_state **ret)
{
	size_t place = sonde_snapshot_place(IPPROTO_TCP, index);

	if (place >= s->n_cells || !s->cells[place])
		return -EINVAL;
	return fresh_state(s, place, ret);
}

static int take_hist(struct sonde_snapshot *s, const struct sonde_probe_hist *h)
{
	struct sonde_cell_state *state = NULL;
	int r;

	if (h->n > SONDE_PROBE_HIST_CHUNK || h->kind >= _SONDE_PROBE_HIST_MAX)
		return -EINVAL;
	r = known_state(s, h->index, &state);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < h->n; i++)
		r = sonde_sparse_hist_set(&state->hists[h->kind], h->pair[i].bucket,
					  h->pair[i].count);
	return r;
}

static int take_calls(struct sonde_snapshot *s, const struct sonde_probe_calls *c)
{
	struct sonde_cell_state *state = NULL;
	int r;

	r = known_state(s, c->index, &state);
	if (r < 0)
		return r;
	state->calls = c->calls;
	return 0;
}

static int take_drop(struct sonde_snapshot *s, const struct sonde_probe_drop *d)
{
	struct sonde_edge_drop drop = {
		.event = d->key.event,
		.direction = d->key.direction,
		.where = d->key.where,
		.site_number = d->key.site,
		.drop = d->drop,
	};
	struct sonde_cell_state *state = NULL;
	struct sonde_edge_drop *p;
	int r;

	if (d->drop_class >= _SONDE_DROP_CLASS_MAX || d->key.direction > SONDE_TCP_DIRECTION_TX ||
	    d->key.event >= SONDE_TCP_EVENT_MAX || d->key.where >= SONDE_TCP_WHERE_MAX)
		return -EINVAL;
	drop.class = (enum sonde_drop_class)d->drop_class;
	/* A name of the kernel's: letters only by nature; whatever else comes is made printable. */
	sonde_process_set_name(drop.reason, sizeof(drop.reason), d->reason);
	sonde_process_set_name(drop.site, sizeof(drop.site), d->site);
	r = known_state(s, d->key.cell, &state);
	if (r < 0)
		return r;
	for (size_t i = 0; i < state->n_drops; i++) {
		p = &state->drops[i];
		if (sonde_edge_drop_same_site(p, &drop)) {
			p->drop = drop.drop;
			return 0;
		}
	}
	if (state->n_drops == SONDE_SNAPSHOT_DROPS_MAX)
		return -EINVAL;
	return sonde_edge_drops_append(&state->drops, &state->n_drops, &drop);
}

static int take_process(struct sonde_snapshot *s, const struct sonde_probe_process *p)
{
	struct sonde_probe_process *list;

	if (s->n_processes == SONDE_SNAPSHOT_PROCESSES_MAX)
		return -EINVAL;
	/* grows by powers of two, so that a thousand children are not a thousand copies */
	if ((s->n_processes & (s->n_processes - 1)) == 0) {
		size_t cap = s->n_processes ? s->n_processes * 2 : 1;

		list = reallocarray(s->processes, cap, sizeof(list[0]));
		if (!list)
			return -ENOMEM;
		s->processes = list;
	}
	s->processes[s->n_processes++] = *p;
	return 0;
}

static int take_flows(struct sonde_snapshot *s, const struct sonde_probe_flow *f)
{
	size_t wanted = s->n_flows + f->n, cap = s->cap_flows ? s->cap_flows : 64;
	struct sonde_flow *grown;

	if (f->n > SONDE_PROBE_FLOW_CHUNK || wanted > SONDE_SNAPSHOT_FLOWS_MAX)
		return -EINVAL;
	while (cap < wanted)
		cap *= 2;
	if (cap != s->cap_flows) {
		grown = reallocarray(s->flows, cap, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		s->flows = grown;
		s->cap_flows = cap;
	}
	memcpy(s->flows + s->n_flows, f->flow, f->n * sizeof(f->flow[0]));
	s->n_flows = wanted;
	return 0;
}

static int take_flow_rest(struct sonde_snapshot *s, const struct sonde_probe_flow_rest *rest)
{
	struct sonde_probe_flow_rest *list;

	if (s->n_flow_rests == SONDE_SNAPSHOT_FLOW_RESTS_MAX)
		return -EINVAL;
	list = reallocarray(s->flow_rests, s->n_flow_rests + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	s->flow_rests = list;
	list[s->n_flow_rests++] = *rest;
	return 0;
}

static int take_cost(struct sonde_snapshot *s, const struct sonde_probe_cost *c)
{
	if (s->n_costs == SONDE_SNAPSHOT_PROGRAMS_MAX)
		return -EINVAL;
	s->costs[s->n_costs++] = *c;
	return 0;
}

int sonde_snapshot_record(struct sonde_snapshot *s, const struct sonde_probe_reply *reply)
{
	int r = 0;

	assert(s && reply);

	switch (reply->type) {
	case SONDE_PROBE_CELL:
		r = take_cell(s, &reply->cell);
		break;
	case SONDE_PROBE_UDP_CELL:
		r = take_udp_cell(s, &reply->udp_cell);
		break;
	case SONDE_PROBE_HIST:
		r = take_hist(s, &reply->hist);
		break;
	case SONDE_PROBE_CALLS:
		r = take_calls(s, &reply->calls);
		break;
	case SONDE_PROBE_DROP:
		r = take_drop(s, &reply->drop);
		break;
	case SONDE_PROBE_FLOW:
		r = take_flows(s, &reply->flow);
		break;
	case SONDE_PROBE_FLOW_REST:
		r = take_flow_rest(s, &reply->flow_rest);
		break;
	case SONDE_PROBE_PROCESS:
		r = take_process(s, &reply->process);
		break;
	case SONDE_PROBE_LOSS:
		s->loss = reply->loss;
		break;
	case SONDE_PROBE_UDP_LOSS:
		s->udp_loss = reply->udp_loss;
		break;
	case SONDE_PROBE_COST:
		r = take_cost(s, &reply->cost);
		break;
	default:
		break;
	}
	if (r < 0)
		s->refused++;
	return r;
}

void sonde_snapshot_commit(struct sonde_snapshot *s, uint64_t mono_ns, int64_t wall_ms)
{
	assert(s);

	for (size_t i = 0; i < s->n_cells; i++) {
		struct sonde_cell_state *c = s->cells[i];

		if (!c || !c->fresh)
			continue;
		c->fresh = false;
		if (!c->told || c->cell.epoch == s->epoch)
			continue;
		sonde_cell_clear_gauges(&c->cell);
	}
	s->mono_ns = mono_ns;
	s->wall_ms = wall_ms;
}
