/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-reports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/ingest/meters.h"
#include "export/skywalking.h"
#include "export/sonde-net.h"
#include "mal/id.h"
#include "model/hist.h"

#define FRAMES_BYTES_MAX (64U << 20)

/* Two dozen values, from 80 us to some ms, as a path with a little queueing has. */
static int observe(struct sonde_sparse_hist *h, unsigned i, unsigned round)
{
	int r = 0;

	for (unsigned k = 0; k < 24 && r == 0; k++)
		r = sonde_sparse_hist_add(h, sonde_hist_bucket_of(80 + (i % 7) * 10 + k * k * 9),
					  1 + (i * 31 + round * 17 + k) % 40 / (k + 1));
	return r;
}

static int fill(struct sonde_edge *e, struct sonde_process *self, unsigned i, unsigned round)
{
	uint64_t n = 100 + (i * 37 + round * 11) % 900;
	struct in_addr address = {htonl(0x0a000000U + i + 1)};
	struct sonde_tcp_cell *c = &e->cell;
	int r;

	e->self = sonde_process_ref(self);
	e->peer = (struct sonde_peer){.kind = SONDE_PEER_ADDRESS, .port = 443};
	e->peer.addr[10] = e->peer.addr[11] = 0xff;
	memcpy(e->peer.addr + 12, &address, sizeof(address));
	e->port = 443;
	e->role = SONDE_TCP_ROLE_CLIENT;
	e->changed = true;
	c->opened = c->handshake_count = 1 + n % 3;
	c->handshake_sum_us = 200 * c->opened;
	c->closed[0] = c->opened;
	c->sent_bytes = c->acked_bytes = n * 700;
	c->received_bytes = c->arrived_bytes = n * 4000;
	c->segments_out = n * 2;
	c->segments_in = n * 3;
	c->retransmitted_segments = c->retransmit[0] = n % 5;
	c->retransmitted_bytes = c->retransmit_bytes[0] = 1448 * (n % 5);
	c->busy_us = n * 90;
	c->active_us = 1900000;
	c->write_calls = c->read_calls = n;
	c->rtt_count = n;
	c->rtt_sum_us = n * 180;
	c->rtt_square_sum_us2 = n * 180 * 200;
	c->rtt_firsts = 1;
	c->rtt_change_sum_us = n * 12;
	c->open = c->rtt_sockets = c->ssthresh_sockets = c->pacing_sockets = c->delivery_sockets =
		4;
	c->srtt_sum_us = 4 * 180;
	c->rttvar_sum_us = 4 * 20;
	c->rtt_min_us = 80;
	c->cwnd_sum = 40;
	c->ssthresh_sum = 30;
	c->pacing_sum = c->delivery_sum = n * 100000;
	e->calls.calls[SONDE_TCP_CALL_WRITE][0] = n;
	e->calls.calls[SONDE_TCP_CALL_READ][0] = n;
	r = observe(&e->hists[SONDE_PROBE_HIST_RTT], i, round);
	return r < 0 ? r
		     : sonde_sparse_hist_add(&e->hists[SONDE_PROBE_HIST_HANDSHAKE],
					     sonde_hist_bucket_of(200), c->opened);
}

static int make_self(struct sonde_process **ret)
{
	int r = sonde_process_new(42, 1, ret);

	if (r < 0)
		return r;
	(void)sonde_process_set_entity((*ret)->service, "web");
	(void)sonde_process_set_entity((*ret)->instance, "pod-1");
	(void)sonde_process_set_entity((*ret)->name, "nginx");
	return sonde_mal_process_id("nginx", "web", "pod-1", (*ret)->id);
}

int bench_report(unsigned edges, unsigned round, int64_t at_ms, struct sonde_buf *ret)
{
	_cleanup_(sonde_process_unrefp) struct sonde_process *self = NULL;
	struct sonde_batch batch = SONDE_BATCH_INIT(at_ms);
	struct sonde_edges all = {0};
	struct sonde_edge *e;
	int r = make_self(&self);

	for (unsigned i = 0; i < edges && r == 0; i++) {
		r = sonde_edges_add(&all, &e);
		if (r == 0)
			r = fill(e, self, i, round);
	}
	if (r == 0)
		r = sonde_skywalking_emit(&batch, &all, SONDE_SKYWALKING_PEERS_ADDRESS);
	if (r == 0)
		r = sonde_net_emit(&batch, &all);
	*ret = SONDE_BUF_INIT(FRAMES_BYTES_MAX);
	for (size_t i = 0; i < batch.n && r == 0; i++)
		r = sonde_meters_frame(ret, batch.messages[i].data, batch.messages[i].len);
	sonde_batch_done(&batch);
	sonde_edges_done(&all);
	return r;
}
