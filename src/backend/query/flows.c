/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/query/flows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/query/flow-join.h"
#include "backend/services/flows.h"
#include "base/num.h"
#include "model/signal.h"
#include "wire/message.h"

static const char *const states[] = {
	"none",	     "established", "syn_sent",	  "syn_recv", "fin_wait1", "fin_wait2",
	"time_wait", "close",	    "close_wait", "last_ack", "listen",	   "closing",
};

static const struct {
	const char *closer, *kind;
} closers[] = {{NULL, NULL},	  {"local", "fin"}, {"local", "rst"}, {"remote", "fin"},
	       {"remote", "rst"}, {"both", "fin"},  {NULL, "error"}};

static const char *const errors[] = {NULL,	     "ABORTED",	    "ECONNREFUSED", "ETIMEDOUT",
				     "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET",   "OTHER"};

static const struct {
	const char *name;
	enum sonde_store_query query;
} sorts[] = {
	{"bytes", SONDE_STORE_GET_FLOWS_BY_BYTES},
	{"retransmits", SONDE_STORE_GET_FLOWS_BY_RETRANSMITS},
	{"rtt", SONDE_STORE_GET_FLOWS_BY_RTT},
	{"start", SONDE_STORE_GET_FLOWS_BY_START},
};

/* A query whose parameters were understood. -1: any. */
struct wanted {
	enum sonde_store_query query;
	const char *process, *peer;
	int64_t open, state, failed, role;
	int64_t limit;
	int64_t key, id; /* behind these, and @agent */
	char agent[SONDE_SPEC_TEXT_MAX];
};

static int parse_sort(const char *text, struct wanted *w, struct sonde_problem *problem)
{
	for (size_t i = 0; i < ELEMENTS_OF(sorts); i++) {
		if (strcmp(text ? text : "bytes", sorts[i].name) != 0)
			continue;
		w->query = sorts[i].query;
		return 0;
	}
	return sonde_problem_set(problem, 400, "sort", "sort: bytes, retransmits, rtt or start");
}

static int parse_state(const char *text, struct wanted *w, struct sonde_problem *problem)
{
	if (!text || text[0] == '\0')
		return 0;
	if (strcmp(text, "open") == 0) {
		w->open = 1;
		return 0;
	}
	if (strcmp(text, "ended") == 0) {
		w->open = 0;
		return 0;
	}
	if (strcmp(text, "failed") == 0) {
		w->failed = 1;
		return 0;
	}
	for (size_t i = 1; i < ELEMENTS_OF(states); i++) {
		if (strcasecmp(text, states[i]) != 0)
			continue;
		w->state = (int64_t)i;
		return 0;
	}
	return sonde_problem_set(problem, 400, "state",
				 "state: open, ended, failed or a state of TCP such as close_wait");
}

static int parse_role(const char *text, struct wanted *w, struct sonde_problem *problem)
{
	if (!text || text[0] == '\0')
		return 0;
	if (strcmp(text, "client") == 0)
		w->role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;
	else if (strcmp(text, "server") == 0)
		w->role = SONDE__V1__FLOW_ROLE__FLOW_ROLE_SERVER;
	else
		return sonde_problem_set(problem, 400, "role", "role: client or server");
	return 0;
}

/* "KEY:ID:AGENT", which nobody but us need understand. */
static int parse_cursor(const char *text, struct wanted *w, struct sonde_problem *problem)
{
	char numbers[64];
	const char *agent;
	char *id;

	if (!text || text[0] == '\0')
		return 0;
	(void)snprintf(numbers, sizeof(numbers), "%s", text);
	id = strchr(numbers, ':');
	agent = strchr(text, ':');
	agent = agent ? strchr(agent + 1, ':') : NULL;
	if (!id || !agent || strlen(agent + 1) >= sizeof(w->agent))
		goto refuse;
	*id++ = '\0';
	id[strcspn(id, ":")] = '\0';
	if (sonde_parse_i64(numbers, 0, INT64_MAX, &w->key) < 0 ||
	    sonde_parse_i64(id, INT64_MIN, INT64_MAX, &w->id) < 0)
		goto refuse;
	(void)snprintf(w->agent, sizeof(w->agent), "%s", agent + 1);
	return 0;
refuse:
	return sonde_problem_set(problem, 400, "cursor", "cursor: not the `next` of an answer");
}

static int parse(const struct sonde_flows_query *q, struct wanted *w, struct sonde_problem *problem)
{
	uint64_t limit = SONDE_FLOWS_LIMIT_DEFAULT;
	int r;

	*w = (struct wanted){
		.process = q->process ? q->process : "",
		.peer = q->peer ? q->peer : "",
		.open = -1,
		.state = -1,
		.failed = -1,
		.role = -1,
		.key = INT64_MAX,
		.id = INT64_MIN,
	};
	if (q->limit && sonde_parse_u64(q->limit, 1, SONDE_FLOWS_LIMIT_MAX, &limit) < 0)
		return sonde_problem_set(problem, 400, "limit", "limit: must be 1 to %d",
					 SONDE_FLOWS_LIMIT_MAX);
	w->limit = (int64_t)limit;
	r = parse_sort(q->sort, w, problem);
	if (r == 0)
		r = parse_state(q->state, w, problem);
	if (r == 0)
		r = parse_role(q->role, w, problem);
	return r == 0 ? parse_cursor(q->cursor, w, problem) : r;
}

static json_t *endpoint(ProtobufCBinaryData address, uint32_t port)
{
	char text[SONDE_FLOW_ADDRESS_MAX];

	sonde_flow_address(address, text);
	return json_pack("{s:s, s:o}", "address", text, "port",
			 port ? json_integer(port) : json_null());
}

static json_t *rtt(const Sonde__V1__Flow *f)
{
	if (f->rtt_count == 0)
		return json_pack("{s:i, s:n, s:n, s:n}", "count", 0, "mean", "min", "max");
	return json_pack("{s:I, s:f, s:I, s:I}", "count", (json_int_t)f->rtt_count, "mean",
			 (double)f->rtt_sum_us / (double)f->rtt_count, "min",
			 (json_int_t)f->rtt_min_us, "max", (json_int_t)f->rtt_max_us);
}

/* @drops: the task asked for them; else nobody looked, which is no 0. */
static int set_numbers(json_t *row, const Sonde__V1__Flow *f, bool drops)
{
	static const char *const names[] = {
		"sent_bytes",	     "received_bytes",	       "sent_segments",
		"received_segments", "retransmitted_segments", "drops"};
	const uint64_t numbers[] = {
		f->sent_bytes,	      f->received_bytes,	 f->sent_segments,
		f->received_segments, f->retransmitted_segments, f->drops};
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(names) && r == 0; i++)
		r = sonde_json_set(row, names[i], json_integer(sonde_json_count(numbers[i])));
	if (r == 0 && !drops)
		r = sonde_json_set(row, "drops", json_null());
	return r == 0 ? sonde_json_set(row, "rtt_us", rtt(f)) : r;
}

static int set_life(json_t *row, const Sonde__V1__Flow *f)
{
	size_t closer = f->closer < ELEMENTS_OF(closers) ? f->closer : 0;
	size_t error = f->error < ELEMENTS_OF(errors) ? f->error : 0;
	int r;

	r = sonde_json_set(row, "state",
			   json_string(f->state < ELEMENTS_OF(states) ? states[f->state] : "none"));
	if (r == 0)
		r = sonde_json_set(row, "closer", sonde_json_text_or_null(closers[closer].closer));
	if (r == 0)
		r = sonde_json_set(row, "close_kind",
				   sonde_json_text_or_null(closers[closer].kind));
	if (r == 0)
		r = sonde_json_set(row, "error", sonde_json_text_or_null(errors[error]));
	if (r == 0)
		r = sonde_json_set(row, "start", sonde_json_time(f->start_wall_ms));
	if (r == 0)
		r = sonde_json_set(row, "end", sonde_json_time(f->end_wall_ms));
	return r == 0 ? sonde_json_set(row, "duration_us",
				       f->start_wall_ms ? json_integer((json_int_t)f->duration_us)
							: json_null())
		      : r;
}

struct other {
	const char *id, *name;
	char address[SONDE_FLOW_ADDRESS_MAX];
	uint32_t port;
	const char *by; /* what told the translation; NULL: none, or not known */
	char service[SONDE_FLOW_ADDRESS_MAX];
	uint32_t service_port;
};

/* Who is at the other end, by the agent's word or by the flow of the other end itself. */
static void find_other(const struct sonde_store_row *in, const Sonde__V1__Flow *f,
		       const struct sonde_flow_join *join, struct other *o)
{
	bool client = f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT;

	*o = (struct other){.id = sonde_store_row_text(in, 5),
			    .name = sonde_store_row_text(in, 6),
			    .port = f->remote_port};
	sonde_flow_address(f->remote_address, o->address);
	if (join->found && o->id[0] == '\0') {
		o->id = join->process;
		o->name = join->name;
	}
	if (f->backend_address.len) {
		o->by = "conntrack";
		memcpy(o->service, o->address, sizeof(o->service));
		o->service_port = f->remote_port;
		sonde_flow_address(f->backend_address, o->address);
		o->port = f->backend_port;
	} else if (join->found && join->translated) {
		o->by = "flows";
		memcpy(o->service, join->service, sizeof(o->service));
		o->service_port = join->service_port;
		if (client) {
			memcpy(o->address, join->address, sizeof(o->address));
			o->port = join->port;
		}
	}
}

static int set_peer(json_t *row, const struct other *o)
{
	json_t *service = o->by ? json_pack("{s:s, s:i, s:s}", "address", o->service, "port",
					    (int)o->service_port, "by", o->by)
				: json_null();
	int r;

	r = sonde_json_set(row, "service", service);
	if (r < 0)
		return r;
	return sonde_json_set(row, "peer",
			      json_pack("{s:o, s:o, s:s, s:o}", "process_id",
					sonde_json_text_or_null(o->id), "process",
					sonde_json_text_or_null(o->name), "address", o->address,
					"port", o->port ? json_integer(o->port) : json_null()));
}

static json_t *flow_json(const struct sonde_store_row *in, const Sonde__V1__Flow *f,
			 const struct sonde_flow_join *join, bool drops)
{
	_cleanup_json_ json_t *row = NULL;
	struct other other;
	char id[24];

	find_other(in, f, join, &other);

	(void)snprintf(id, sizeof(id), "%" PRIx64, f->id);
	row = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:o}", "id", id, "agent_id",
			sonde_json_text(sonde_store_row_text(in, 0)), "protocol",
			f->protocol == SONDE__V1__FLOW_PROTOCOL__FLOW_PROTOCOL_UDP ? "udp" : "tcp",
			"role",
			f->role == SONDE__V1__FLOW_ROLE__FLOW_ROLE_CLIENT ? "client" : "server",
			"process_id", sonde_json_text_or_null(sonde_store_row_text(in, 3)),
			"process", sonde_json_text_or_null(sonde_store_row_text(in, 4)), "pid",
			(json_int_t)sonde_store_row_int(in, 2), "netns", sonde_json_count(f->netns),
			"local", endpoint(f->local_address, f->local_port), "remote",
			endpoint(f->remote_address, f->remote_port));
	if (!row || set_peer(row, &other) < 0 || set_life(row, f) < 0 ||
	    set_numbers(row, f, drops) < 0)
		return NULL;
	return TAKE_PTR(row);
}

struct rows {
	struct sonde_backend *backend;
	bool drops;   /* asked for */
	json_t *list; /* borrowed */
	size_t n;
	char next[SONDE_SPEC_TEXT_MAX + 64]; /* behind the last one */
};

static int add_row(void *ctx, const struct sonde_store_row *in)
{
	struct rows *rows = ctx;
	struct sonde_flow_join join = {0};
	_cleanup_(sonde_wire_freep) ProtobufCMessage *message = NULL;
	const Sonde__V1__Flow *f;
	const void *data;
	size_t n;
	int r;

	data = sonde_store_row_blob(in, 7, &n);
	r = sonde_wire_unpack(&sonde__v1__flow__descriptor, data, n, NULL, &message);
	if (r < 0)
		return r;
	f = (const Sonde__V1__Flow *)message;
	r = sonde_flow_join(rows->backend, f, &join);
	if (r < 0)
		return r;
	rows->n++;
	(void)snprintf(rows->next, sizeof(rows->next), "%" PRId64 ":%" PRId64 ":%s",
		       sonde_store_row_int(in, 8), sonde_store_row_int(in, 1),
		       sonde_store_row_text(in, 0));
	return sonde_json_append(rows->list, flow_json(in, f, &join, rows->drops));
}

static int add_sums(json_t *to, const json_t *from)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)from, key, value)
	{
		json_int_t sum = json_integer_value(value) + sonde_json_get_int(to, key, 0);

		if (sonde_json_set(to, key, json_integer(sum)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool asks_drops(const struct sonde_task *t)
{
	return sonde_signals_have(t->spec->signals, SONDE_SIGNAL_DROP);
}

/* Over all agents: what is in no row. */
static json_t *rests(const struct sonde_task *t)
{
	_cleanup_json_ json_t *ended = json_object(), *open = json_object();
	int r = ended && open ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < t->n_agents; i++) {
		const json_t *flows = t->agents[i]->flows;

		r = add_sums(ended, json_object_get(flows, "ended_rest"));
		if (r == 0)
			r = add_sums(ended, json_object_get(flows, "kept"));
		if (r == 0)
			r = add_sums(open, json_object_get(flows, "open_rest"));
	}
	if (r == 0 && !asks_drops(t)) {
		(void)json_object_del(ended, "drops");
		(void)json_object_del(open, "drops");
	}
	return r < 0 ? NULL : json_pack("{s:O, s:O}", "ended", ended, "open", open);
}

/* Why an agent told none; null where it told. */
static json_t *absent_reason(const struct sonde_task *t)
{
	size_t i;
	json_t *entry;

	for (size_t a = 0; a < t->n_agents; a++) {
		json_array_foreach(t->agents[a]->absent, i, entry)
		{
			/* by themselves, or last in the list of what a lesser probe does not give */
			if (strstr(sonde_json_get_text(entry, "meter", ""), "flows"))
				return sonde_json_text(sonde_json_get_text(entry, "reason", ""));
		}
	}
	return json_null();
}

static int count_row(void *ctx, const struct sonde_store_row *row)
{
	*(int64_t *)ctx = sonde_store_row_int(row, 0);
	return 0;
}

int sonde_view_flows(struct sonde_backend *b, const struct sonde_task *t,
		     const struct sonde_flows_query *query, json_t **ret,
		     struct sonde_problem *problem)
{
	_cleanup_json_ json_t *list = json_array();
	struct rows rows = {.backend = b, .list = list, .drops = asks_drops(t)};
	struct wanted w;
	int64_t stored = 0;
	bool more;
	int r;

	if (!list)
		return -ENOMEM;
	r = parse(query, &w, problem);
	if (r == 0)
		r = sonde_store_select(b->store, w.query, add_row, &rows, "titittiiiiiii",
				       t->spec->id, w.key, w.agent, w.id, w.process, w.peer, w.open,
				       w.state, w.failed, w.role, w.limit, query->since_ms,
				       query->until_ms);
	if (r == 0)
		r = sonde_store_select(b->store, SONDE_STORE_COUNT_FLOWS, count_row, &stored, "t",
				       t->spec->id);
	if (r < 0)
		return r;
	more = rows.n == (size_t)w.limit;
	*ret = json_pack("{s:O, s:o, s:I, s:o, s:o}", "flows", list, "next",
			 more ? sonde_json_text(rows.next) : json_null(), "stored",
			 (json_int_t)stored, "rest", rests(t), "absent", absent_reason(t));
	return *ret ? 0 : -ENOMEM;
}
