/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/namespaces-report.h"

#include <assert.h>
#include <errno.h>

#include "wire/message.h"

struct part {
	Sonde__V1__NamespaceCounters message;
	Sonde__V1__NetCounter counter[_SONDE_NET_COUNTER_MAX];
	Sonde__V1__NetCounter *counters[_SONDE_NET_COUNTER_MAX];
	int32_t pids[SONDE_NAMESPACES_PIDS_MAX];
};

struct sonde_namespaces_report {
	struct part part[SONDE_NAMESPACES_MAX];
	Sonde__V1__NamespaceCounters *list[SONDE_NAMESPACES_MAX];
};

static void fill(struct part *p, const struct sonde_namespace *ns)
{
	sonde__v1__namespace_counters__init(&p->message);
	p->message.host = ns->host;
	p->message.targets = (uint32_t)ns->n_targets;
	for (size_t i = 0; i < ns->n_pids; i++)
		p->pids[i] = (int32_t)ns->pids[i];
	p->message.n_pids = ns->n_pids;
	p->message.pids = p->pids;
	for (size_t c = 0; c < _SONDE_NET_COUNTER_MAX; c++) {
		uint64_t total = sonde_namespace_growth(&ns->now, &ns->base, c);
		Sonde__V1__NetCounter *to = &p->counter[p->message.n_counters];

		if (total == 0)
			continue;
		sonde__v1__net_counter__init(to);
		to->name = sonde_wire_text(sonde_net_counter_name(c));
		to->total = total;
		to->interval = sonde_namespace_growth(&ns->now, &ns->before, c);
		p->counters[p->message.n_counters++] = to;
	}
	p->message.counters = p->counters;
}

int sonde_namespaces_report_new(const struct sonde_namespaces *s, Sonde__V1__TaskReport *report,
				struct sonde_namespaces_report **ret)
{
	struct sonde_namespaces_report *r;

	assert(s && report && ret);

	*ret = NULL;
	if (s->n == 0)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		fill(&r->part[i], &s->list[i]);
		r->list[i] = &r->part[i].message;
	}
	report->n_namespaces = s->n;
	report->namespaces = r->list;
	*ret = r;
	return 0;
}

struct sonde_namespaces_report *sonde_namespaces_report_free(struct sonde_namespaces_report *r)
{
	free(r);
	return NULL;
}
