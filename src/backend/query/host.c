/* SPDX-License-Identifier: Apache-2.0 */
/* Host: what the kernel counted in the namespaces of a task's targets, and the targets' own part of it. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/side.h"
#include "backend/query/topology.h"
#include "backend/query/views.h"
#include "base/cleanup.h"
#include "base/num.h"

/* The kernel's counters, IPv4 and IPv6, and the number of an edge's side that is the same thing. */
static const struct {
	const char *name;
	const char *counters[2];
	enum sonde_meter meter;
	const char *of_side;
	const char *protocol;
} parts[] = {
	{"TcpInSegs", {"TcpInSegs"}, SONDE_METER_SEGMENTS_RECEIVED, "received_segments", "tcp"},
	{"TcpRetransSegs",
	 {"TcpRetransSegs"},
	 SONDE_METER_RETRANSMITTED_SEGMENTS,
	 "retransmitted_segments",
	 "tcp"},
	{"UdpInDatagrams",
	 {"UdpInDatagrams", "Udp6InDatagrams"},
	 SONDE_METER_UDP_RECEIVED_DATAGRAMS,
	 "received_datagrams",
	 "udp"},
	{"UdpOutDatagrams",
	 {"UdpOutDatagrams", "Udp6OutDatagrams"},
	 SONDE_METER_UDP_SENT_DATAGRAMS,
	 "sent_datagrams",
	 "udp"},
	{"UdpRcvbufErrors",
	 {"UdpRcvbufErrors", "Udp6RcvbufErrors"},
	 SONDE_METER_UDP_BUFFER_DROPPED,
	 "buffer_dropped_datagrams",
	 "udp"},
};

static int64_t sum_namespaces(const json_t *namespaces, const char *counter)
{
	int64_t sum = 0;

	for (size_t i = 0; counter && i < json_array_size(namespaces); i++) {
		const json_t *ns = json_array_get(namespaces, i);
		const json_t *counters = json_object_get(ns, "counters");

		/* the node's own namespace, where no target lives in it, has no part of theirs */
		if (sonde_json_get_int(ns, "targets", 0) > 0)
			sum = sonde_add_i64(
				sum,
				sonde_json_get_int(json_object_get(counters, counter), "total", 0));
	}
	return sum;
}

/* Adds what @side has. Return: whether it has a number; one that was not measured is null. */
static bool add_side(const json_t *side, const char *key, int64_t *sum)
{
	const json_t *value = json_object_get(side, key);

	if (!json_is_integer(value))
		return false;
	*sum = sonde_add_i64(*sum, json_integer_value(value));
	return true;
}

/* Of all ends; null where none has a number and @reason says why. NULL when memory ran out. */
static json_t *sum_sides(const json_t *topology, const char *protocol, const char *key,
			 const char *reason)
{
	const json_t *edges = json_object_get(topology, "edges");
	bool measured = false;
	int64_t sum = 0;

	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *e = json_array_get(edges, i);

		if (strcmp(sonde_json_get_text(e, "protocol", ""), protocol) != 0)
			continue;
		measured |= add_side(json_object_get(e, "client_side"), key, &sum);
		measured |= add_side(json_object_get(e, "server_side"), key, &sum);
	}
	return measured || !reason ? json_integer(sum) : json_null();
}

static bool is_asked(const struct sonde_task *t, const char *protocol)
{
	return t->spec->collectors &
	       (strcmp(protocol, "udp") == 0 ? SONDE_SPEC_COLLECT_UDP : SONDE_SPEC_COLLECT_TCP);
}

static json_t *explained_json(const struct sonde_task *t, const json_t *namespaces,
			      const json_t *topology)
{
	_cleanup_json_ json_t *list = json_array(), *absent = sonde_topology_absent(t);

	for (size_t i = 0; list && i < ELEMENTS_OF(parts); i++) {
		int64_t all = sonde_add_i64(sum_namespaces(namespaces, parts[i].counters[0]),
					    sum_namespaces(namespaces, parts[i].counters[1]));
		const char *reason = sonde_side_absent(absent, parts[i].meter);
		json_t *targets;

		if (!is_asked(t, parts[i].protocol))
			continue;
		targets = sum_sides(topology, parts[i].protocol, parts[i].of_side, reason);
		/* the reason of one agent stands beside the number of the others too */
		if (sonde_json_append(list, json_pack("{s:s, s:I, s:s?, s:o}", "counter",
						      parts[i].name, "namespaces", (json_int_t)all,
						      "absent", reason, "targets", targets)) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

json_t *sonde_view_host(struct sonde_backend *b, const struct sonde_task *t,
			struct sonde_series_set *set)
{
	_cleanup_json_ json_t *topology = sonde_view_topology(b, t, set), *list = json_array();

	for (size_t i = 0; list && i < t->n_agents; i++) {
		if (t->agents[i]->namespaces &&
		    json_array_extend(list, t->agents[i]->namespaces) < 0)
			return NULL;
	}
	if (!topology || !list)
		return NULL;
	return json_pack("{s:s, s:O, s:O, s:o}", "task", t->spec->id, "window",
			 json_object_get(topology, "window"), "namespaces", list, "explained",
			 explained_json(t, list, topology));
}
