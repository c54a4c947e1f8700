/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot: tell what changed. Nothing is folded, the kernel side counts at the event. */
#include <errno.h>
#include <string.h>

#include "collect/cells.h"
#include "collect/udp/state.h"
#include "udp.skel.h"

/*
 * Whose the counts of a server's cell without a peer are, where they are all of one's; 0: the address's. What is of
 * another end was noted before it was counted, so the counts are read first.
 */
static uint32_t late_owner(const struct sonde_udp_slot *slot)
{
	uint32_t sole;

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	sole = __atomic_load_n(&slot->sole, __ATOMIC_ACQUIRE);
	return sole ? 0 : __atomic_load_n(&slot->owner, __ATOMIC_RELAXED);
}

static int emit_cell(void *ctx, uint32_t index, struct sonde_collect_sink sink)
{
	struct udp_state *s = ctx;
	const struct sonde_udp_slot *slot = sonde_table_at(&s->cells, index);
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_UDP_CELL};
	struct udp_told *told = sonde_told_at(&s->told, index);
	struct sonde_tcp_cell_key *key = &reply.udp_cell.key;

	if (!__atomic_load_n(&slot->used, __ATOMIC_ACQUIRE))
		return 0;
	reply.udp_cell.index = index;
	*key = slot->key;
	reply.udp_cell.cell = slot->cell;
	if (!key->peer_pid)
		key->peer_pid = late_owner(slot);
	if (told->peer_pid == key->peer_pid &&
	    memcmp(&told->cell, &reply.udp_cell.cell, sizeof(told->cell)) == 0)
		return 0;
	told->cell = reply.udp_cell.cell;
	told->peer_pid = key->peer_pid;
	return sink.emit(sink.ctx, &reply);
}

static int emit_cells(struct udp_state *s, struct sonde_collect_sink sink)
{
	const struct sonde_cells cells = {
		.next_cell = &s->skel->bss->sonde_next_cell,
		.next_other = &s->skel->bss->sonde_next_other,
		.told = &s->told,
		.tables = {&s->cells},
		.emit = emit_cell,
		.ctx = s,
	};

	return sonde_cells_emit(&cells, &s->object, sink);
}

static int emit_losses(struct udp_state *s, struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_UDP_LOSS};
	int r;

	r = sonde_object_sum(&s->object, s->skel->maps.sonde_losses, SONDE_UDP_LOSS_MAX,
			     reply.udp_loss.count);
	if (r < 0)
		return r;
	reply.udp_loss.count[SONDE_UDP_LOSS_SKIPPED_RUNS] = sonde_object_skipped_runs(&s->object);
	return sink.emit(sink.ctx, &reply);
}

int udp_snapshot(void *state, struct sonde_collect_sink sink)
{
	struct udp_state *s = state;
	const struct sonde_target_table targets =
		sonde_object_targets(&s->object, s->skel->maps.sonde_targets);
	int r;

	r = sonde_object_raise(&s->object);
	if (r < 0)
		return r;
	r = emit_cells(s, sink);
	if (r == 0)
		r = sonde_target_table_emit(&targets, sink);
	if (r == 0)
		r = udp_emit_flows(s, sink);
	if (r == 0)
		r = emit_losses(s, sink);
	if (r == 0)
		r = sonde_object_emit_costs(&s->object, s->skel->maps.sonde_cost, sink);
	sonde_object_drop(&s->object);
	return r;
}
