/* SPDX-License-Identifier: Apache-2.0 */
/* Targets without traffic: an edge that is missing says nothing by itself. */
#include <string.h>

#include "ctl/members.h"
#include "ctl/view.h"

#define NAMED_MAX 8 /* by name; more are counted */

static bool in_an_edge(const json_t *topology, const char *process_id)
{
	const json_t *edges = json_object_get(topology, "edges");

	for (size_t i = 0; i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);

		if (strcmp(sonde_text_of(edge, "client"), process_id) == 0 ||
		    strcmp(sonde_text_of(edge, "server"), process_id) == 0)
			return true;
	}
	return false;
}

/* Several pids may be one process: it is told once. */
static bool told_before(const json_t *targets, size_t i)
{
	const char *id = sonde_text_of(json_array_get(targets, i), "process_id");

	for (size_t n = 0; n < i; n++) {
		if (strcmp(sonde_text_of(json_array_get(targets, n), "process_id"), id) == 0)
			return true;
	}
	return false;
}

static bool is_quiet(const json_t *targets, size_t i, const json_t *topology)
{
	const char *id = sonde_text_of(json_array_get(targets, i), "process_id");

	/* Its earlier name may have the edges. */
	if (strncmp(sonde_text_of(json_array_get(targets, i), "reason"), "was ", 4) == 0)
		return false;
	return *id && !told_before(targets, i) && !in_an_edge(topology, id);
}

/* "TCP", "UDP", or both: what the task looked at. */
static const char *protocols(const json_t *task)
{
	const json_t *collectors = json_object_get(json_object_get(task, "spec"), "collectors");
	bool tcp = false, udp = false;

	for (size_t i = 0; i < json_array_size(collectors); i++) {
		const char *c = json_string_value(json_array_get(collectors, i));

		tcp = tcp || (c && strcmp(c, "tcp") == 0);
		udp = udp || (c && strcmp(c, "udp") == 0);
	}
	return tcp && udp ? "TCP and UDP" : udp ? "UDP" : "TCP";
}

int sonde_view_quiet(struct sonde_cli *cli, const json_t *task, const json_t *topology)
{
	const json_t *targets = json_object_get(task, "targets");
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);

		if (!is_quiet(targets, i, topology) || n++ >= NAMED_MAX)
			continue;
		if (n == 1)
			(void)fprintf(cli->out, "no %s traffic in this time: ", protocols(task));
		else
			(void)fputs(", ", cli->out);
		sonde_view_text(cli, sonde_text_of(target, "name"));
		(void)fprintf(cli->out, " (pid %" JSON_INTEGER_FORMAT ")",
			      json_integer_value(json_object_get(target, "pid")));
	}
	if (n > NAMED_MAX)
		(void)fprintf(cli->out, " and %zu more", n - NAMED_MAX);
	if (n > 0)
		(void)fputc('\n', cli->out);
	else if (json_array_size(json_object_get(topology, "edges")) == 0)
		(void)fprintf(cli->out, "no %s traffic of the targets was seen in this time\n",
			      protocols(task));
	return 0;
}
