/* SPDX-License-Identifier: Apache-2.0 */
/* sonde flows: the connections of a task, one by one */
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/flows.h"
#include "ctl/units.h"
#include "ctl/view.h"

static const char *const filters[] = {"process", "peer",  "state", "role",
				      "sort",	 "limit", "cursor"};

static int flows_path(struct sonde_cli *cli, struct sonde_buf *path)
{
	int r;

	r = sonde_cli_task_path(cli->operands[0], "/flows", path);
	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(filters); i++)
		r = sonde_cli_add_parameter(path, filters[i], sonde_cli_flag(cli, filters[i]));
	return r;
}

/* "10.1.2.3:80", "[2001:db8::1]:80"; a port that is not known is a "?". */
static void cell_endpoint(struct sonde_table *t, const json_t *end)
{
	const char *address = json_string_value(json_object_get(end, "address"));
	const json_t *port = json_object_get(end, "port");

	if (!address)
		sonde_table_add(t, NULL);
	else if (!json_is_integer(port))
		sonde_table_addf(t, "%s:?", address);
	else if (strchr(address, ':'))
		sonde_table_addf(t, "[%s]:%lld", address, (long long)json_integer_value(port));
	else
		sonde_table_addf(t, "%s:%lld", address, (long long)json_integer_value(port));
}

/* The process at the other end, behind a Service's address where that is what was asked for. */
static void cell_peer(struct sonde_table *t, const json_t *flow)
{
	const json_t *peer = json_object_get(flow, "peer"),
		     *service = json_object_get(flow, "service");
	const char *name = json_string_value(json_object_get(peer, "process"));
	const char *address = json_string_value(json_object_get(peer, "address"));

	if (!name)
		name = json_is_object(service) ? address : NULL;
	if (json_is_object(service) && name)
		sonde_table_addf(t, "%s (service)", name);
	else
		sonde_table_add(t, name);
}

static void cell_close(struct sonde_table *t, const json_t *flow)
{
	const char *error = json_string_value(json_object_get(flow, "error"));
	const char *closer = json_string_value(json_object_get(flow, "closer"));
	const char *kind = json_string_value(json_object_get(flow, "close_kind"));

	if (error)
		sonde_table_addf(t, "failed %s", error);
	else if (closer && kind)
		sonde_table_addf(t, "%s %s", closer, kind);
	else
		sonde_table_add(t, kind);
}

static bool is_udp(const json_t *flow)
{
	const char *protocol = json_string_value(json_object_get(flow, "protocol"));

	return protocol && strcmp(protocol, "udp") == 0;
}

static void add_first_seen(const struct sonde_cli *cli, struct sonde_table *t, int64_t wall_ms,
			   const char *sent)
{
	char local[SONDE_UNIT_MAX], text[SONDE_UNIT_MAX + 2];

	(void)snprintf(text, sizeof(text), "%s *",
		       sonde_time_local(wall_ms, cli->settings->utc, local));
	sonde_table_add_raw(t, SONDE_STYLE_NONE, text, sent);
}

/* UDP knows no beginning: it is when its first datagram, or its socket, was seen. */
static void cell_start(const struct sonde_cli *cli, struct sonde_table *t, const json_t *flow)
{
	const char *start = json_string_value(json_object_get(flow, "start"));
	int64_t wall_ms;

	if (!is_udp(flow) || !start || sonde_time_parse(start, &wall_ms) < 0)
		sonde_cell_time(t, cli, flow, "start");
	else
		add_first_seen(cli, t, wall_ms, start);
}

static void flow_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *flow)
{
	const json_t *rtt = json_object_get(flow, "rtt_us");

	cell_start(cli, t, flow);
	sonde_cell_text(t, flow, "process");
	sonde_cell_text(t, flow, "role");
	cell_endpoint(t, json_object_get(flow, "local"));
	cell_endpoint(t, json_object_get(flow, "remote"));
	cell_peer(t, flow);
	sonde_cell_bytes(t, flow, "sent_bytes");
	sonde_cell_bytes(t, flow, "received_bytes");
	if (is_udp(flow)) /* it has none */
		sonde_table_add(t, NULL);
	else
		sonde_cell_count(t, flow, "retransmitted_segments");
	sonde_cell_count(t, flow, "drops");
	sonde_cell_us(t, rtt, "mean");
	sonde_cell_us(t, rtt, "max");
	sonde_cell_us(t, flow, "duration_us");
	if (is_udp(flow))
		sonde_table_add(t, "udp");
	else
		sonde_cell_text(t, flow, "state");
	cell_close(t, flow);
}

/* What stands in no row. */
static void note_rest(struct sonde_cli *cli, const json_t *answer)
{
	const json_t *rest = json_object_get(answer, "rest");
	const json_t *ended = json_object_get(json_object_get(rest, "ended"), "connections");
	const json_t *open = json_object_get(json_object_get(rest, "open"), "connections");
	const char *absent = json_string_value(json_object_get(answer, "absent"));

	if (absent)
		sonde_cli_note(cli, "no connections one by one: %s", absent);
	if (json_integer_value(ended) > 0 || json_integer_value(open) > 0)
		sonde_cli_note(
			cli, "%lld ended and %lld open connections are only in sums (see -o json)",
			(long long)json_integer_value(ended), (long long)json_integer_value(open));
}

int sonde_flows_table(struct sonde_cli *cli, const json_t *flows)
{
	static const struct sonde_column columns[] = {{"START", false, false},
						      {"PROCESS", false, true},
						      {"ROLE", false, false},
						      {"LOCAL", false, true},
						      {"REMOTE", false, true},
						      {"PEER", false, true},
						      {"SENT", true, false, .unit = "bytes"},
						      {"RECEIVED", true, false, .unit = "bytes"},
						      {"RETRANS", true, false},
						      {"DROPS", true, false},
						      {"RTT", true, false, .unit = "us"},
						      {"MAX", true, false, .unit = "us"},
						      {"LIFE", true, false, .unit = "us"},
						      {"STATE", false, false},
						      {"CLOSE", false, false},
						      {NULL}};

	return sonde_view_rows(cli, columns, flows, flow_cells);
}

static bool has_udp(const json_t *flows)
{
	for (size_t i = 0; i < json_array_size(flows); i++) {
		if (is_udp(json_array_get(flows, i)))
			return true;
	}
	return false;
}

/* "10.1.2.3:80", "[2001:db8::1]:80", as REMOTE has it: a peer is named without its port. */
static bool has_port(const char *peer)
{
	const char *colon = strrchr(peer, ':');

	return colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
	       (strchr(peer, ':') == colon || (peer[0] == '[' && colon[-1] == ']'));
}

static void note_none(struct sonde_cli *cli)
{
	const char *peer = sonde_cli_flag(cli, "peer");

	sonde_cli_note(cli, "no connection was told%s%s",
		       sonde_cli_flag(cli, "cursor") ? " behind that one" : "",
		       peer && has_port(peer) ? ": --peer is a name, id or address without its port"
					      : "");
}

static int print_flows(struct sonde_cli *cli, const json_t *answer)
{
	const json_t *flows = json_object_get(answer, "flows");
	int status;

	if (json_array_size(flows) == 0)
		note_none(cli);
	status = sonde_flows_table(cli, flows);
	if (status != 0)
		return status;
	if (has_udp(flows))
		sonde_cli_note(cli, "* of UDP, which has no beginning: when it was first counted");
	note_rest(cli, answer);
	sonde_view_next(cli, answer);
	return 0;
}

int sonde_cli_flows(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(8192);
	int r;

	if (sonde_cli_flag(cli, "follow"))
		return sonde_flows_follow(cli);
	r = flows_path(cli, &path);
	if (r < 0)
		return sonde_cli_no_task_path(cli, cli->operands[0], r);
	r = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (r != 0)
		return r;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_flows(cli, answer.json);
}
