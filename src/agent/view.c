/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/view.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void forget_all(struct sonde_view *v)
{
	for (size_t i = 0; i < v->n_last; i++)
		(void)sonde_cell_state_unref(v->last[i]);
	free(v->last);
	free(v->as_joined);
	v->last = NULL;
	v->as_joined = NULL;
	v->n_last = 0;
}

void sonde_view_done(struct sonde_view *v)
{
	if (!v)
		return;
	forget_all(v);
	free(v->pids);
	*v = (struct sonde_view){0};
}

void sonde_view_rebase(struct sonde_view *v)
{
	assert(v);

	forget_all(v);
}

/* Index of @pid, or of where it belongs. */
static size_t place_of(const struct sonde_view *v, uint32_t pid)
{
	size_t lo = 0, hi = v->n_pids;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (v->pids[mid] < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool sonde_view_has(const struct sonde_view *v, uint32_t pid)
{
	size_t at;

	assert(v);

	at = place_of(v, pid);
	return at < v->n_pids && v->pids[at] == pid;
}

static int grow(struct sonde_view *v, size_t n)
{
	struct sonde_cell_state **last;
	bool *as_joined;

	if (n <= v->n_last)
		return 0;
	as_joined = reallocarray(v->as_joined, n, sizeof(*as_joined));
	if (!as_joined)
		return -ENOMEM;
	v->as_joined = as_joined;
	last = reallocarray(v->last, n, sizeof(void *));
	if (!last)
		return -ENOMEM;
	memset(last + v->n_last, 0, (n - v->n_last) * sizeof(void *));
	memset(as_joined + v->n_last, 0, (n - v->n_last) * sizeof(*as_joined));
	v->last = last;
	v->n_last = n;
	return 0;
}

static void set_last(struct sonde_view *v, size_t i, struct sonde_cell_state *state)
{
	struct sonde_cell_state *old = v->last[i];

	if (old != state)
		v->as_joined[i] = false;
	v->last[i] = sonde_cell_state_ref(state);
	(void)sonde_cell_state_unref(old);
}

int sonde_view_add(struct sonde_view *v, uint32_t pid, const struct sonde_snapshot *since)
{
	size_t at;
	uint32_t *pids;
	int r;

	assert(v);

	if (sonde_view_has(v, pid))
		return 0;
	r = grow(v, since ? since->n_cells : 0);
	if (r < 0)
		return r;
	pids = reallocarray(v->pids, v->n_pids + 1, sizeof(pids[0]));
	if (!pids)
		return -ENOMEM;
	v->pids = pids;
	at = place_of(v, pid);
	memmove(&pids[at + 1], &pids[at], (v->n_pids - at) * sizeof(pids[0]));
	pids[at] = pid;
	v->n_pids++;
	for (size_t i = 0; since && i < since->n_cells; i++) {
		if (!since->cells[i] || since->cells[i]->key.pid != pid)
			continue;
		set_last(v, i, since->cells[i]);
		v->as_joined[i] = true;
	}
	return 0;
}

void sonde_view_remove(struct sonde_view *v, uint32_t pid)
{
	size_t at;

	assert(v);

	at = place_of(v, pid);
	if (at == v->n_pids || v->pids[at] != pid)
		return;
	v->n_pids--;
	memmove(&v->pids[at], &v->pids[at + 1], (v->n_pids - at) * sizeof(v->pids[0]));
	for (size_t i = 0; i < v->n_last; i++) {
		if (v->last[i] && v->last[i]->key.pid == pid)
			set_last(v, i, NULL);
	}
}

/*
 * @both_are_ours: the task has the other end, too. The kernel side knows targets, not tasks: what both ends have is, to
 * a task over one of them, what that end has.
 */
static int drop_differences(struct sonde_edge *e, const struct sonde_cell_state *now,
			    const struct sonde_cell_state *then, bool both_are_ours)
{
	for (size_t i = 0; i < now->n_drops; i++) {
		struct sonde_edge_drop d = now->drops[i];

		for (size_t k = 0; then && k < then->n_drops; k++) {
			const struct sonde_edge_drop *o = &then->drops[k];

			if (!sonde_edge_drop_same_site(o, &d))
				continue;
			d.drop.skbs -= o->drop.skbs;
			d.drop.segments -= o->drop.segments;
			d.drop.bytes -= o->drop.bytes;
			break;
		}
		if (d.drop.skbs == 0 && d.drop.segments == 0)
			continue;
		e->changed = true;
		if (d.where == SONDE_TCP_WHERE_BOTH_ENDS && !both_are_ours)
			d.where = SONDE_TCP_WHERE_ELSEWHERE;
		if (sonde_edge_add_drop(e, &d) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int fill_edge(struct sonde_edge *e, const struct sonde_cell_state *now,
		     const struct sonde_cell_state *then, bool both_are_ours)
{
	int r = 0;

	e->changed =
		sonde_cell_add_difference(&e->cell, &now->cell, then ? &then->cell : NULL, true);
	if (sonde_udp_cell_add_difference(&e->udp, &now->udp, then ? &then->udp : NULL))
		e->changed = true;
	if (sonde_calls_add_difference(&e->calls, &now->calls, then ? &then->calls : NULL))
		e->changed = true;
	/* Connections that are open no more are a change too: the gauge falls. */
	if (then && then->cell.open != now->cell.open)
		e->changed = true;
	if (now->cell.accept_queue != (then ? then->cell.accept_queue : 0))
		e->changed = true;
	for (size_t i = 0; r == 0 && i < _SONDE_PROBE_HIST_MAX; i++)
		r = sonde_sparse_hist_add_difference(&e->hists[i], &now->hists[i],
						     then ? &then->hists[i] : NULL);
	if (r == 0)
		r = drop_differences(e, now, then, both_are_ours);
	return r;
}

/* Over its whole life: only signals that came before a connection, or instead of one. */
static bool without_connection(const struct sonde_cell_state *s)
{
	const struct sonde_tcp_cell *c = &s->cell;

	return s->key.protocol != IPPROTO_UDP && c->seeded == 0 && c->opened == 0 &&
	       c->accepted == 0 && c->open == 0;
}

static void name_edge(struct sonde_edge *e, const struct sonde_cell_state *now,
		      const struct sonde_peer_table *peers, struct sonde_view_names names)
{
	struct sonde_process *other = NULL;

	e->role = now->key.role;
	e->protocol = now->key.protocol;
	e->port = now->key.port;
	sonde_peer_resolve(peers, &now->key, &e->peer);
	if (e->peer.service)
		e->port = e->peer.port; /* the backend's, as its own end has it */
	if (without_connection(now))
		sonde_peer_infer_client(peers, &now->key, &e->peer);
	if (e->peer.kind == SONDE_PEER_PROCESS)
		other = names.process_of(names.ctx, e->peer.pid);
	if (other)
		e->other = sonde_process_ref(other);
	else if (e->peer.kind == SONDE_PEER_PROCESS)
		e->peer.kind = SONDE_PEER_ADDRESS;
}

static int add_edge(const struct sonde_view *v, struct sonde_edges *edges,
		    const struct sonde_cell_state *now, const struct sonde_cell_state *then,
		    const struct sonde_peer_table *peers, struct sonde_view_names names,
		    struct sonde_process *self)
{
	struct sonde_edge *e = NULL;
	int r;

	r = sonde_edges_add(edges, &e);
	if (r < 0)
		return r;
	e->self = sonde_process_ref(self);
	name_edge(e, now, peers, names);
	r = fill_edge(e, now, then, e->other && sonde_view_sees(v, e->peer.pid, now->key.protocol));
	if (r < 0) {
		sonde_edge_done(e); /* half an edge would count half of the cell */
		edges->n--;
	}
	return r;
}

bool sonde_view_sees(const struct sonde_view *v, uint32_t pid, uint32_t protocol)
{
	uint32_t collector =
		protocol == IPPROTO_UDP ? SONDE_PROBE_COLLECT_UDP : SONDE_PROBE_COLLECT_TCP;

	return (!v->collectors || v->collectors & collector) && sonde_view_has(v, pid);
}

bool sonde_view_counts(const struct sonde_view *v, const struct sonde_snapshot *s, size_t i)
{
	const struct sonde_cell_state *now = s->cells[i];

	assert(v && i < s->n_cells);

	if (!now || !sonde_view_sees(v, now->key.pid, now->key.protocol))
		return false;
	return now->cell.open || i >= v->n_last || now != v->last[i] || !v->as_joined[i];
}

int sonde_view_difference(struct sonde_view *v, const struct sonde_snapshot *s,
			  const struct sonde_peer_table *peers, struct sonde_view_names names,
			  struct sonde_edges *edges, size_t *ret_waiting)
{
	size_t waiting = 0;
	int r;

	assert(v && s && peers && names.process_of && edges && ret_waiting);

	r = grow(v, s->n_cells);
	for (size_t i = 0; r == 0 && i < s->n_cells; i++) {
		struct sonde_cell_state *now = s->cells[i];
		struct sonde_process *self;

		if (!now || !sonde_view_sees(v, now->key.pid, now->key.protocol))
			continue;
		if (now == v->last[i] && !now->cell.open)
			continue;
		self = names.process_of(names.ctx, now->key.pid);
		if (!self) {
			waiting++;
			continue;
		}
		r = add_edge(v, edges, now, v->last[i], peers, names, self);
		if (r == 0)
			set_last(v, i, now);
	}
	*ret_waiting = waiting;
	return r;
}
