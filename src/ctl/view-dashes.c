/* SPDX-License-Identifier: Apache-2.0 */
/* Under the edges: what a "-" among them stands for. */
#include <errno.h>
#include <string.h>

#include "ctl/view.h"

#define METERS_MAX 32 /* of one reason, by name */
#define ENDS "\n"     /* no meter: how many ends a reason is about */

static json_int_t whole(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* reason -> {meter: true, …, ENDS: how many} */
static int gather_absent(json_t *by_reason, const json_t *side)
{
	json_t *value, *object = json_object_get(side, "absent");
	json_t *counted = json_object();
	const char *meter;
	int r = counted ? 0 : -ENOMEM;

	json_object_foreach(object, meter, value)
	{
		const char *reason = json_string_value(value);
		json_t *meters;

		if (!reason || r < 0)
			continue;
		meters = json_object_get(by_reason, reason);
		if (!meters) {
			meters = json_object();
			r = json_object_set_new(by_reason, reason, meters) < 0 ? -ENOMEM : 0;
		}
		if (r == 0 && !json_object_get(counted, reason) &&
		    (json_object_set_new(counted, reason, json_true()) < 0 ||
		     json_object_set_new(meters, ENDS, json_integer(whole(meters, ENDS) + 1)) < 0))
			r = -ENOMEM;
		if (r == 0 && json_object_set_new(meters, meter, json_true()) < 0)
			r = -ENOMEM;
	}
	json_decref(counted);
	return r;
}

/* Of some ends only: others have a number, which must not look like a contradiction. */
static void print_reason(struct sonde_cli *cli, const char *reason, json_t *meters, json_int_t ends)
{
	const json_int_t without = whole(meters, ENDS);
	const char *meter, *before = ": ";
	size_t n = 0;
	json_t *value;

	sonde_view_text(cli, reason);
	if (without < ends)
		(void)fprintf(cli->out,
			      " (on %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " ends)",
			      without, ends);
	json_object_foreach(meters, meter, value)
	{
		if (strcmp(meter, ENDS) == 0 || n++ >= METERS_MAX)
			continue;
		(void)fputs(before, cli->out);
		sonde_view_text(cli, meter);
		before = ", ";
	}
	(void)fputs(n > METERS_MAX ? ", …\n" : "\n", cli->out);
}

int sonde_view_dashes(struct sonde_cli *cli, const json_t *topology)
{
	const json_t *edges = json_object_get(topology, "edges");
	json_t *meters, *by_reason = json_object();
	const char *reason;
	json_int_t ends = 0;
	int r = by_reason ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(edges); i++) {
		const json_t *edge = json_array_get(edges, i);
		const json_t *client = json_object_get(edge, "client_side");
		const json_t *server = json_object_get(edge, "server_side");

		ends += json_is_object(client) + json_is_object(server);
		r = gather_absent(by_reason, client);
		if (r == 0)
			r = gather_absent(by_reason, server);
	}
	json_object_foreach(by_reason, reason, meters)
	{
		if (r == 0 && cli->headers)
			print_reason(cli, reason, meters, ends);
	}
	json_decref(by_reason);
	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}
