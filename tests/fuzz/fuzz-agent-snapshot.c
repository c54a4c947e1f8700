/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a probe that has gone mad: whole replies, one behind the other, into a snapshot and a view. */
#include <stdlib.h>
#include <string.h>

#include "agent/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sonde_process *process_of(void *ctx, uint32_t pid)
{
	return pid ? ctx : NULL;
}

static void look(struct sonde_view *v, const struct sonde_snapshot *s, struct sonde_process *p)
{
	_cleanup_(sonde_peer_table_freep) struct sonde_peer_table *peers = NULL;
	_cleanup_(sonde_edges_done) struct sonde_edges edges = {0};
	size_t waiting = 0;

	if (sonde_peer_table_new(1000, &peers) < 0)
		abort();
	for (size_t i = 0; i < s->n_cells; i++) {
		if (s->cells[i] && sonde_peer_table_add_cell(peers, &s->cells[i]->key) < 0)
			break;
	}
	sonde_peer_table_seal(peers, NULL, NULL);
	(void)!sonde_view_difference(v, s, peers, (struct sonde_view_names){process_of, p}, &edges,
				     &waiting);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_snapshot_done) struct sonde_snapshot s = {0};
	_cleanup_(sonde_view_done) struct sonde_view v = {0};
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;
	const size_t head = 128; /* of each reply; the rest is zero, so that inputs stay small */

	if (sonde_process_new(1, 1, &p) < 0)
		abort();
	p->id[0] = 'x';
	sonde_snapshot_begin(&s);
	for (size_t n = 0; size >= head && n < 64; data += head, size -= head, n++) {
		struct sonde_probe_reply r = {0};

		memcpy(&r, data, head);
		(void)!sonde_snapshot_record(&s, &r);
		if (r.type == SONDE_PROBE_CELL)
			(void)!sonde_view_add(&v, r.cell.key.pid, n % 2 ? &s : NULL);
		if (n % 8 == 7) {
			sonde_snapshot_commit(&s, n, (int64_t)n);
			look(&v, &s, p);
			sonde_snapshot_begin(&s);
		}
	}
	sonde_snapshot_commit(&s, 1, 1);
	look(&v, &s, p);
	return 0;
}
