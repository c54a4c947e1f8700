/* SPDX-License-Identifier: Apache-2.0 */
/* Under the edges: what a "-" among them stands for. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "ctl/view.h"

#define METERS_MAX 32 /* of one reason, by name, with -o wide */
#define METERS_FEW 4  /* else */
#define WORDS_MAX 4096
#define ENDS "\n" /* no meter: how many ends a reason is about */

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
static int note_reason(struct sonde_cli *cli, const char *reason, json_t *meters, json_int_t ends)
{
	const size_t named = sonde_cli_output(cli) == SONDE_CLI_WIDE ? METERS_MAX : METERS_FEW;
	const size_t all = json_object_size(meters) - 1; /* but ENDS */
	_cleanup_buf_ struct sonde_buf words = SONDE_BUF_INIT(WORDS_MAX);
	const json_int_t without = whole(meters, ENDS);
	const char *meter;
	size_t n = 0;
	json_t *value;
	int r;

	r = sonde_buf_printf(&words, "%.300s", reason);
	if (r == 0 && without < ends)
		r = sonde_buf_printf(
			&words, " (on %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " ends)",
			without, ends);
	json_object_foreach(meters, meter, value)
	{
		if (r == 0 && strcmp(meter, ENDS) != 0 && n++ < named)
			r = sonde_buf_printf(&words, "%s %.64s", n == 1 ? ":" : ",", meter);
	}
	if (r == 0 && all > named)
		r = sonde_buf_printf(&words, ", and %zu more%s", all - named,
				     named == METERS_FEW ? " (-o wide names them)" : "");
	if (r == 0)
		sonde_cli_note(cli, "%s", sonde_buf_str(&words));
	return r;
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
		if (r == 0)
			r = note_reason(cli, reason, meters, ends);
	}
	json_decref(by_reason);
	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}
