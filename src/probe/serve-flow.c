/* SPDX-License-Identifier: Apache-2.0 */
/* Flows on their way from a collector to the agent: who is behind a translated address is asked of conntrack. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/privilege.h"
#include "probe/serve-state.h"

/* The collector may have capabilities in effect; they are again when this returns. */
static void ask_for(struct sonde_nat *nat, struct sonde_probe_flow *flows, uint32_t which)
{
	uint64_t before = 0;

	if (sonde_privilege_effective(&before) < 0 ||
	    sonde_privilege_raise(SONDE_CAP(CAP_NET_ADMIN)) < 0) {
		(void)sonde_privilege_raise(before);
		return;
	}
	for (uint32_t i = 0; i < flows->n; i++) {
		if (which & 1U << i)
			sonde_nat_ask(nat, &flows->flow[i]);
	}
	(void)sonde_privilege_raise(before);
}

int serve_flow_emit(void *ctx, struct sonde_probe_reply *reply)
{
	struct serve_answer *a = ctx;
	struct sonde_nat *nat = a->serve->nat;
	uint32_t which = 0;

	if (reply->type != SONDE_PROBE_FLOW || !nat)
		return serve_record(a, reply);
	for (uint32_t i = 0; i < reply->flow.n && i < SONDE_PROBE_FLOW_CHUNK; i++)
		which |= sonde_nat_look_up(nat, &reply->flow.flow[i]) ? 1U << i : 0;
	if (which)
		ask_for(nat, &reply->flow, which);
	return serve_record(a, reply);
}

static void fill_probe(struct sonde_probe_probe *p, int error)
{
	*p = (struct sonde_probe_probe){.state = error ? SONDE_PROBE_ABSENT : SONDE_PROBE_ATTACHED};
	(void)snprintf(p->name, sizeof(p->name), "netlink/conntrack");
	(void)snprintf(p->metrics, sizeof(p->metrics), "backends behind Service addresses");
	(void)snprintf(p->per, sizeof(p->per), "new connection");
	if (error == -EPERM)
		(void)snprintf(p->capability, sizeof(p->capability), "CAP_NET_ADMIN");
	if (error)
		(void)snprintf(p->reason, sizeof(p->reason), "%s",
			       error == -EOPNOTSUPP ? "this kernel has no conntrack netlink"
						    : strerror(-error));
}

static void note_probe(struct sonde_serve *s, int error)
{
	if (!s->probes || s->n_probes == PROBES_MAX)
		s->probes_cut++;
	else
		fill_probe(&s->probes[s->n_probes++], error);
}

static int try_conntrack(struct sonde_nat *nat)
{
	uint64_t before = 0;
	int r;

	r = sonde_privilege_effective(&before);
	if (r == 0)
		r = sonde_privilege_raise(SONDE_CAP(CAP_NET_ADMIN));
	if (r == 0)
		r = sonde_nat_probe(nat);
	(void)sonde_privilege_raise(before);
	return r;
}

int serve_flow_start(struct sonde_serve *s)
{
	int r;

	if (s->nat)
		return 0;
	r = sonde_nat_new(s->config.netfilter_fd, &s->nat);
	if (r < 0)
		return r;
	r = try_conntrack(s->nat);
	if (r < 0)
		sonde_log_debug("conntrack cannot be asked: %s", strerror(-r));
	note_probe(s, r);
	return 0;
}

int serve_flow_plan(struct sonde_serve *s, struct serve_answer *a)
{
	_cleanup_(sonde_nat_freep) struct sonde_nat *nat = NULL;
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_PROBE};
	int r;

	r = sonde_nat_new(s->config.netfilter_fd, &nat);
	if (r < 0)
		return r;
	fill_probe(&reply.probe, try_conntrack(nat));
	return serve_record(a, &reply);
}

void serve_flow_stop(struct sonde_serve *s)
{
	s->nat = sonde_nat_free(s->nat);
}
