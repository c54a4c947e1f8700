/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/task-lists.h"

#include <string.h>

#include "export/skywalking.h"
#include "export/sonde-net.h"
#include "model/meters.h"
#include "model/signal.h"
#include "wire/message.h"

void sonde_task_list_targets(const struct sonde_task *t, struct sonde_task_lists *l)
{
	for (size_t i = 0; i < t->n_targets; i++) {
		const struct sonde_task_target *from = &t->targets[i];
		Sonde__V1__TargetState *to = &l->target[i];

		sonde__v1__target_state__init(to);
		to->pid = (int32_t)from->pid;
		if (from->process) {
			to->process_id = sonde_wire_text(from->process->id);
			to->name = sonde_wire_text(from->process->name);
		} else if (from->wanted_id) {
			to->process_id = sonde_wire_text(from->wanted);
		} else {
			to->name = sonde_wire_text(from->wanted);
		}
		to->state = sonde_wire_text(sonde_target_state_name(from->state));
		to->reason = sonde_wire_text(from->reason);
		to->since_wall_ms = from->since_ms;
		l->targets[i] = to;
	}
	l->n_targets = t->n_targets;
}

/* What a signal leaves out an option may leave out, too: the first reason stands. */
static bool has_absent(const struct sonde_task_lists *l, const char *meter)
{
	for (size_t i = 0; i < l->n_absent; i++) {
		if (strcmp(l->absent[i]->meter, meter) == 0)
			return true;
	}
	return false;
}

static void add_absent(struct sonde_task_lists *l, const char *meter, const char *reason)
{
	Sonde__V1__AbsentMeter *to = &l->meter[l->n_absent];

	if (l->n_absent == SONDE_TASK_ABSENT_MAX || has_absent(l, meter))
		return;
	sonde__v1__absent_meter__init(to);
	to->meter = sonde_wire_text(meter);
	to->reason = sonde_wire_text(reason);
	l->absent[l->n_absent++] = to;
}

/* The first alternative of the same metric. */
static const struct sonde_probe_probe *best_of(const struct sonde_task *t, size_t i)
{
	while (i > 0 && strcmp(t->probes[i - 1].metrics, t->probes[i].metrics) == 0)
		i--;
	return &t->probes[i];
}

/* Why these metrics of the option execution time are not there; NULL = they are. */
static const char *why_no_time(const struct sonde_task *t, const char *metrics)
{
	const char *reason = "not measured: this probe has no program for it";

	if (!t->spec.execution_time)
		return "not requested";
	for (size_t i = t->n_probes; i > 0; i--) {
		const struct sonde_probe_probe *probe = &t->probes[i - 1];

		if (strcmp(probe->metrics, metrics) != 0)
			continue;
		if (probe->state == SONDE_PROBE_ATTACHED)
			return NULL;
		reason = probe->reason; /* at last that of the best alternative */
	}
	return reason;
}

static void add_absent_times(const struct sonde_task *t, struct sonde_task_lists *l)
{
	const char *meter, *metrics;

	for (size_t i = 0; sonde_skywalking_needs(i, &meter, &metrics); i++) {
		if (why_no_time(t, metrics))
			add_absent(l, meter, why_no_time(t, metrics));
	}
	for (size_t i = 0; sonde_net_needs(i, &meter, &metrics); i++) {
		if (why_no_time(t, metrics))
			add_absent(l, meter, why_no_time(t, metrics));
	}
	add_absent(
		l, "application protocol, TLS and HTTP",
		"not observed: what a connection carries is not looked into (SkyWalking's labels "
		"have to be there and say protocol=unknown, is_ssl=false)");
	if (why_no_time(t, SONDE_PROBE_METRICS_LOCAL_CONNECT))
		add_absent(l, "local connect failures",
			   "not observed: without a SYN (no route, no address) only the call's "
			   "result tells");
	if (t->flows_absent[0])
		add_absent(l, "flows", t->flows_absent);
	else if (!sonde_signals_have(t->spec.signals, SONDE_SIGNAL_DROP))
		add_absent(l, "drops of each connection", "not requested");
}

/* What no kernel gives by the way that UDP is counted here. */
static void add_absent_udp(const struct sonde_task *t, struct sonde_task_lists *l)
{
	static const enum sonde_meter times[] = {
		SONDE_METER_UDP_WRITE_TIMED_CALLS,
		SONDE_METER_UDP_WRITE_TIME_SUM,
		SONDE_METER_UDP_READ_TIMED_CALLS,
		SONDE_METER_UDP_READ_TIME_SUM,
	};
	const char *why = why_no_time(t, SONDE_PROBE_METRICS_UDP_TIMES);

	add_absent(l, "UDP datagrams on the wire of UDP_SEGMENT and UDP_GRO",
		   "a segmented send and a coalesced read are one datagram each, as the kernel's "
		   "own UdpOutDatagrams and UdpInDatagrams count");
	for (size_t i = 0; why && i < ELEMENTS_OF(times); i++)
		add_absent(l, sonde_meter_info(times[i])->name, why);
}

/* Of the collector that it has: the rest of the table is another protocol's. */
static bool is_of_task(const struct sonde_task *t, const struct sonde_meter_info *m)
{
	const bool udp = strncmp(m->name, "sonde_net_udp_", strlen("sonde_net_udp_")) == 0;

	return t->spec.collectors & (udp ? SONDE_PROBE_COLLECT_UDP : SONDE_PROBE_COLLECT_TCP);
}

static void add_unselected(const struct sonde_task *t, struct sonde_task_lists *l)
{
	const uint32_t signals = t->spec.signals;
	enum sonde_signal signal;
	const char *meter;

	for (unsigned i = 0; i < _SONDE_METER_MAX; i++) {
		const struct sonde_meter_info *m = sonde_meter_info(i);

		if (is_of_task(t, m) && !sonde_signals_have(signals, m->signal))
			add_absent(l, m->name, "not requested");
	}
	for (size_t i = 0; t->spec.collectors & SONDE_PROBE_COLLECT_TCP &&
			   sonde_skywalking_signal(i, &meter, &signal);
	     i++) {
		if (!sonde_signals_have(signals, signal))
			add_absent(l, meter, "not requested");
	}
}

void sonde_task_list_absent(const struct sonde_task *t, struct sonde_task_lists *l)
{
	add_unselected(t, l);
	if (t->spec.collectors & SONDE_PROBE_COLLECT_TCP)
		add_absent_times(t, l);
	if (t->spec.collectors & SONDE_PROBE_COLLECT_UDP)
		add_absent_udp(t, l);
	for (size_t i = 0; i < t->n_probes; i++) {
		const struct sonde_probe_probe *probe = &t->probes[i], *best = best_of(t, i);

		if (probe->state == SONDE_PROBE_ABSENT && probe == best)
			add_absent(l, probe->metrics, probe->reason);
		else if (probe->state == SONDE_PROBE_ATTACHED && probe->less[0])
			add_absent(l, probe->less, best->reason);
	}
}
