/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/registrar.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/rpc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "skywalking/v3/management.pb-c.h"
#include "skywalking/v3/process.pb-c.h"
#include "wire/message.h"

#define FULL_EVERY 10	/* heartbeats */
#define REQUEST_MAX 500 /* processes of one call */
#define PROBLEM_MAX 200
#define AGAIN_NS (3 * SONDE_NS_PER_S)
#define LAYERS_MAX 64 /* more than SkyWalking knows; what is beyond is not kept alive */
#define TOLD_MAX 64   /* names and layers of which something was said */

struct sonde_registrar {
	struct sonde_registrar_config config;
	sd_event_source *timer;
	unsigned beats;
	unsigned in_flight;
	bool again;    /* something new came while a report was under way */
	bool full_due; /* the backend may have forgotten us */
	bool said;     /* the failure was logged */
	bool away;     /* it did not answer, or may not */
	bool full;     /* the report under way is of all */
	uint64_t pinged_ns;
	uint64_t told[TOLD_MAX]; /* hashes */
	size_t told_at;
	char host_ip[INET6_ADDRSTRLEN];
	char problem[PROBLEM_MAX];
	char delivery[SONDE_SENDER_WORDS_MAX];
};

static bool tell_once(struct sonde_registrar *r, const char *what)
{
	uint64_t h = sonde_hash(what, strlen(what), 0);

	for (size_t i = 0; i < TOLD_MAX; i++) {
		if (r->told[i] == h)
			return false;
	}
	r->told[r->told_at] = h;
	r->told_at = (r->told_at + 1) % TOLD_MAX;
	return true;
}

/*
 * The address that a packet to elsewhere would leave with: the kernel's routes say so for a UDP socket that
 * is connected and never sends. The address asked for is one for documentation (RFC 5737, RFC 3849).
 */
static bool route_source(int family, const void *to, socklen_t size, char dst[INET6_ADDRSTRLEN])
{
	_cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage own = {0};
	socklen_t n = sizeof(own);

	if (fd < 0 || connect(fd, to, size) < 0 || getsockname(fd, (void *)&own, &n) < 0)
		return false;
	if (family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, &own, sizeof(in));
		return inet_ntop(family, &in.sin_addr, dst, INET6_ADDRSTRLEN) != NULL;
	} else {
		struct sockaddr_in6 in6;

		memcpy(&in6, &own, sizeof(in6));
		return inet_ntop(family, &in6.sin6_addr, dst, INET6_ADDRSTRLEN) != NULL;
	}
}

static void find_host_ip(char dst[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc0000201)};
	const struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
					.sin6_port = htons(9),
					.sin6_addr.s6_addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};

	if (!route_source(AF_INET, &v4, sizeof(v4), dst) &&
	    !route_source(AF_INET6, &v6, sizeof(v6), dst))
		(void)snprintf(dst, INET6_ADDRSTRLEN, "127.0.0.1");
}

/* A backend that is away comes back; one that refuses does not change its mind in seconds. */
static bool may_pass(enum sonde_grpc_status status)
{
	return status == SONDE_GRPC_UNAVAILABLE || status == SONDE_GRPC_DEADLINE_EXCEEDED ||
	       status == SONDE_GRPC_INTERNAL;
}

static void note_result(struct sonde_registrar *r, const char *what,
			const struct sonde_grpc_result *result)
{
	if (result->status == SONDE_GRPC_OK) {
		if (r->said)
			sonde_log_info("backend answers again");
		if (r->away)
			r->config.on_back(r->config.ctx);
		r->said = r->away = false;
		return;
	}
	r->full_due = r->away = true;
	/* Sooner than the next heartbeat: without it a server that was away knows no process to give tasks for. */
	if (r->config.heartbeat_ns > AGAIN_NS && may_pass(result->status))
		(void)sd_event_source_set_time_relative(r->timer, AGAIN_NS / SONDE_NS_PER_US);
	if (!r->said && result->status != SONDE_GRPC_CANCELLED)
		(void)sonde_log_warn(0, "%s failed: %s %s, trying again", what,
				     sonde_grpc_status_name(result->status), result->message);
	r->said = true;
}

static void on_plain_done(void *ctx, const struct sonde_grpc_result *result,
			  const ProtobufCMessage *answer)
{
	note_result(ctx, "keep-alive of the agent", result);
}

/* Of the agent's own instance. */
static int tell(struct sonde_registrar *r, enum sonde_kafka_link_kind kind,
		const ProtobufCMessage *message)
{
	const char *path = kind == SONDE_KAFKA_LINK_PING
				   ? "/skywalking.v3.ManagementService/keepAlive"
				   : "/skywalking.v3.ManagementService/reportInstanceProperties";

	if (r->config.kafka && sonde_kafka_link_manages(r->config.kafka))
		return sonde_kafka_link_manage(r->config.kafka, kind, message);
	return sonde_rpc(r->config.client, path, message, &skywalking__v3__commands__descriptor,
			 r->config.deadline_ns, on_plain_done, r);
}

static void manage(struct sonde_registrar *r, bool full)
{
	Skywalking__V3__KeyStringValuePair pairs[5], *pointers[5];
	Skywalking__V3__InstanceProperties properties = SKYWALKING__V3__INSTANCE_PROPERTIES__INIT;
	Skywalking__V3__InstancePingPkg ping = SKYWALKING__V3__INSTANCE_PING_PKG__INIT;
	const char *const words[][2] = {{"agent_id", r->config.agent_id},
					{"host", r->config.host},
					{"version", SONDE_VERSION},
					{"delivery", r->delivery},
					{"problem", r->problem}};
	int e = 0;

	for (size_t i = 0; i < ELEMENTS_OF(pairs); i++) {
		skywalking__v3__key_string_value_pair__init(&pairs[i]);
		pairs[i].key = sonde_wire_text(words[i][0]);
		pairs[i].value = sonde_wire_text(words[i][1]);
		pointers[i] = &pairs[i];
	}
	if (full) {
		properties.service = sonde_wire_text(r->config.service);
		properties.serviceinstance = sonde_wire_text(r->config.instance);
		properties.layer = sonde_wire_text("GENERAL");
		properties.n_properties = ELEMENTS_OF(pointers) - (r->problem[0] == '\0');
		properties.properties = pointers;
		e = tell(r, SONDE_KAFKA_LINK_PROPERTIES, &properties.base);
	}
	if (e == 0) {
		ping.service = sonde_wire_text(r->config.service);
		ping.serviceinstance = sonde_wire_text(r->config.instance);
		ping.layer = sonde_wire_text("GENERAL");
		e = tell(r, SONDE_KAFKA_LINK_PING, &ping.base);
	}
	if (e < 0)
		(void)sonde_log_warn(e, "cannot register the agent, ignoring");
}

/* One process of a request with everything that it points to. */
struct row {
	Skywalking__V3__EBPFProcessEntityMetadata entity;
	Skywalking__V3__EBPFHostProcessMetadata host;
	Skywalking__V3__EBPFProcessProperties properties;
	Skywalking__V3__EBPFProcessPingPkg ping;
	Skywalking__V3__KeyStringValuePair pairs[4];
	Skywalking__V3__KeyStringValuePair *pointers[4];
	char pid[12];
};

static void fill_row(const struct sonde_registrar *r, const struct sonde_process *p,
		     struct row *row)
{
	/* support_ebpf_profiling is about CPU profiles, which this agent has not. */
	const char *const words[][2] = {{"host_ip", r->host_ip},
					{"pid", row->pid},
					{"command_line", p->command},
					{"support_ebpf_profiling", "false"}};

	(void)snprintf(row->pid, sizeof(row->pid), "%u", p->pid);
	for (size_t i = 0; i < ELEMENTS_OF(row->pairs); i++) {
		skywalking__v3__key_string_value_pair__init(&row->pairs[i]);
		row->pairs[i].key = sonde_wire_text(words[i][0]);
		row->pairs[i].value = sonde_wire_text(words[i][1]);
		row->pointers[i] = &row->pairs[i];
	}
	skywalking__v3__ebpfprocess_entity_metadata__init(&row->entity);
	row->entity.layer = sonde_wire_text(p->layer);
	row->entity.servicename = sonde_wire_text(p->service);
	row->entity.instancename = sonde_wire_text(p->instance);
	row->entity.processname = sonde_wire_text(p->name);
	row->entity.labels = p->labels;
	row->entity.n_labels = p->n_labels;
	skywalking__v3__ebpfhost_process_metadata__init(&row->host);
	row->host.entity = &row->entity;
	row->host.pid = (int32_t)p->pid;
	row->host.n_properties = ELEMENTS_OF(row->pointers);
	row->host.properties = row->pointers;
	skywalking__v3__ebpfprocess_properties__init(&row->properties);
	row->properties.metadata_case =
		SKYWALKING__V3__EBPFPROCESS_PROPERTIES__METADATA_HOST_PROCESS;
	row->properties.hostprocess = &row->host;
	skywalking__v3__ebpfprocess_ping_pkg__init(&row->ping);
	row->ping.entitymetadata = &row->entity;
	row->ping.n_properties = 1;
	row->ping.properties = &row->pointers[3];
}

static bool names(const Skywalking__V3__EBPFProcessEntityMetadata *m, const struct sonde_process *p)
{
	return m && strcmp(m->servicename, p->service) == 0 &&
	       strcmp(m->instancename, p->instance) == 0 && strcmp(m->processname, p->name) == 0 &&
	       strcmp(m->layer, p->layer) == 0;
}

static bool is_id(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < SONDE_PROCESS_ID_MAX && strspn(s, "0123456789abcdef") == n;
}

static bool take_id(struct sonde_registrar *r, const Skywalking__V3__EBPFProcessDownstream *d)
{
	const Skywalking__V3__EBPFProcessEntityMetadata *m;
	struct sonde_process *p;

	if (d->process_case != SKYWALKING__V3__EBPFPROCESS_DOWNSTREAM__PROCESS_HOST_PROCESS ||
	    !d->hostprocess || d->hostprocess->pid <= 0 || !is_id(d->processid))
		return false;
	m = d->hostprocess->entitymetadata;
	p = sonde_finder_by_pid(r->config.finder, (uint32_t)d->hostprocess->pid);
	if (!p || !names(m, p) || strcmp(p->id, d->processid) == 0)
		return false;
	(void)snprintf(p->id, sizeof(p->id), "%s", d->processid);
	p->id_mono_ns = sonde_mono_ns();
	return true;
}

enum which {
	WHICH_NEW, /* without an id */
	WHICH_ALL,
	WHICH_NAMED, /* with one */
	WHICH_FRESH, /* the same, and not kept alive yet */
};

static void report(struct sonde_registrar *r, bool all);
static void keep_alive(struct sonde_registrar *r, enum which which);

static void on_reported(void *ctx, const struct sonde_grpc_result *result,
			const ProtobufCMessage *answer)
{
	struct sonde_registrar *r = ctx;
	const Skywalking__V3__EBPFReportProcessDownstream *down = (const void *)answer;
	bool any = false;

	r->in_flight--;
	note_result(r, "report of processes", result);
	for (size_t i = 0; down && i < down->n_processes; i++)
		any |= take_id(r, down->processes[i]);
	if (any)
		r->config.on_ids(r->config.ctx);
	if (r->in_flight)
		return;
	/* An OAP makes service and instance out of a keep-alive alone: not as late as at the next heartbeat. */
	if (answer && (any || r->full))
		keep_alive(r, r->full ? WHICH_NAMED : WHICH_FRESH);
	r->full = false;
	if (r->again && answer) {
		r->again = false;
		report(r, false);
	}
}

static int report_rows(struct sonde_registrar *r, const char *layer, struct row *rows, size_t n)
{
	Skywalking__V3__EBPFProcessReportList list = SKYWALKING__V3__EBPFPROCESS_REPORT_LIST__INIT;
	Skywalking__V3__EBPFProcessProperties *pointers[REQUEST_MAX];
	int e;

	for (size_t i = 0; i < n; i++)
		pointers[i] = &rows[i].properties;
	list.n_processes = n;
	list.processes = pointers;
	list.ebpfagentid = sonde_wire_text(r->config.agent_id);
	r->in_flight++;
	e = sonde_rpc(r->config.client, "/skywalking.v3.EBPFProcessService/reportProcesses",
		      &list.base, &skywalking__v3__ebpfreport_process_downstream__descriptor,
		      r->config.deadline_ns, on_reported, r);
	if (e < 0)
		r->in_flight--;
	return e;
}

/* One call of keepAlive. */
struct ping {
	struct sonde_registrar *r;
	char layer[SONDE_PROCESS_LAYER_MAX];
};

static void on_pinged(void *ctx, const struct sonde_grpc_result *result,
		      const ProtobufCMessage *answer)
{
	_cleanup_free_ struct ping *p = ctx;

	if (result->status != SONDE_GRPC_UNKNOWN) {
		note_result(p->r, "keep-alive of processes", result);
		return;
	}
	/* What an OAP says to a layer that it does not know, and to all processes of that call. */
	if (tell_once(p->r, p->layer)) {
		(void)sonde_log_warn(
			0,
			"the backend does not keep the processes of layer %s alive: is it a "
			"layer that SkyWalking knows? (%s %s)",
			p->layer, sonde_grpc_status_name(result->status), result->message);
	}
}

static int ping_rows(struct sonde_registrar *r, const char *layer, struct row *rows, size_t n)
{
	Skywalking__V3__EBPFProcessPingPkgList list =
		SKYWALKING__V3__EBPFPROCESS_PING_PKG_LIST__INIT;
	Skywalking__V3__EBPFProcessPingPkg *pointers[REQUEST_MAX];
	struct ping *p;
	int e;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->r = r;
	(void)snprintf(p->layer, sizeof(p->layer), "%s", layer);
	for (size_t i = 0; i < n; i++)
		pointers[i] = &rows[i].ping;
	list.n_processes = n;
	list.processes = pointers;
	list.ebpfagentid = sonde_wire_text(r->config.agent_id);
	e = sonde_rpc(r->config.client, "/skywalking.v3.EBPFProcessService/keepAlive", &list.base,
		      &skywalking__v3__commands__descriptor, r->config.deadline_ns, on_pinged, p);
	if (e < 0)
		free(p);
	return e;
}

static bool is_one(const struct sonde_registrar *r, const struct sonde_process *p, enum which which,
		   const char *layer)
{
	if (layer && strcmp(p->layer, layer) != 0)
		return false;
	switch (which) {
	case WHICH_NEW:
		return !p->id[0];
	case WHICH_ALL:
		return true;
	case WHICH_NAMED:
		return p->id[0];
	case WHICH_FRESH:
		return p->id[0] && p->id_mono_ns > r->pinged_ns;
	}
	return false;
}

/* Calls @fn with at most REQUEST_MAX rows at a time. @layer: NULL = any. */
static int each(struct sonde_registrar *r, enum which which, const char *layer,
		int (*fn)(struct sonde_registrar *r, const char *layer, struct row *rows, size_t n))
{
	_cleanup_free_ struct row *rows = NULL;
	const struct sonde_process *p;
	size_t cursor = 0, n = 0;
	int e = 0;

	rows = calloc(REQUEST_MAX, sizeof(rows[0]));
	if (!rows)
		return -ENOMEM;
	while (e == 0 && (p = sonde_finder_next(r->config.finder, &cursor))) {
		if (!is_one(r, p, which, layer))
			continue;
		fill_row(r, p, &rows[n++]);
		if (n < REQUEST_MAX)
			continue;
		e = fn(r, layer, rows, n);
		n = 0;
	}
	if (e == 0 && n)
		e = fn(r, layer, rows, n);
	return e;
}

/* Layers of all processes, each once. Borrowed until the next scan. */
static size_t list_layers(const struct sonde_registrar *r, const char *layers[LAYERS_MAX])
{
	const struct sonde_process *p;
	size_t cursor = 0, n = 0;

	while ((p = sonde_finder_next(r->config.finder, &cursor)) && n < LAYERS_MAX) {
		bool known = false;

		for (size_t i = 0; i < n && !known; i++)
			known = strcmp(layers[i], p->layer) == 0;
		if (!known)
			layers[n++] = p->layer;
	}
	return n;
}

/* A call for each layer: an OAP that does not know one refuses all that is in its call. */
static void keep_alive(struct sonde_registrar *r, enum which which)
{
	const char *layers[LAYERS_MAX];
	size_t n = list_layers(r, layers);
	int e = 0;

	for (size_t i = 0; e == 0 && i < n; i++)
		e = each(r, which, layers[i], ping_rows);
	if (e < 0)
		(void)sonde_log_warn(e, "cannot keep processes alive, ignoring");
	r->pinged_ns = sonde_mono_ns();
}

static void tell_cut_names(struct sonde_registrar *r)
{
	const struct sonde_process *p;
	size_t cursor = 0;

	while ((p = sonde_finder_next(r->config.finder, &cursor))) {
		char what[3 * SONDE_PROCESS_NAME_MAX + 8];

		if (!p->cut || p->id[0])
			continue;
		(void)snprintf(what, sizeof(what), "%s / %s / %s", p->service, p->instance,
			       p->name);
		if (tell_once(r, what))
			(void)sonde_log_warn(0,
					     "pid %u: a name is longer than the %d characters that "
					     "SkyWalking keeps, it is reported as %s",
					     p->pid, SONDE_PROCESS_NAME_UNITS, what);
	}
}

static void report(struct sonde_registrar *r, bool all)
{
	int e;

	tell_cut_names(r);
	r->full = all;
	e = each(r, all ? WHICH_ALL : WHICH_NEW, NULL, report_rows);
	if (e < 0)
		(void)sonde_log_warn(e,
				     "cannot report processes, trying again at the next heartbeat");
}

void sonde_registrar_soon(struct sonde_registrar *r)
{
	/* Many agents lost the same server: each comes at its own time. */
	uint64_t spread = sonde_hash(r->config.agent_id, strlen(r->config.agent_id), 0) % 750;

	r->full_due = r->away = true;
	(void)sd_event_source_set_time_relative(r->timer,
						(250 + spread) * SONDE_NS_PER_MS / SONDE_NS_PER_US);
	(void)sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

void sonde_registrar_set_problem(struct sonde_registrar *r, const char *words)
{
	assert(r && words);

	if (strcmp(r->problem, words) == 0)
		return;
	(void)snprintf(r->problem, sizeof(r->problem), "%s", words);
	manage(r, true);
}

void sonde_registrar_report_new(struct sonde_registrar *r)
{
	assert(r);

	if (r->in_flight)
		r->again = true;
	else
		report(r, false);
}

static bool delivery_changed(struct sonde_registrar *r)
{
	char now[SONDE_SENDER_WORDS_MAX] = "";

	if (r->config.delivery)
		r->config.delivery(r->config.ctx, now);
	if (strcmp(r->delivery, now) == 0)
		return false;
	memcpy(r->delivery, now, sizeof(now));
	return true;
}

static int on_beat(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sonde_registrar *r = userdata;
	bool full = r->beats++ % FULL_EVERY == 0 || r->full_due;

	r->full_due = full && r->in_flight; /* not now: at the next heartbeat */
	if (full)
		find_host_ip(r->host_ip);
	manage(r, delivery_changed(r) || full);
	if (r->in_flight == 0)
		report(r, full);
	if (!full || r->full_due) /* else behind the report's answer */
		keep_alive(r, WHICH_NAMED);
	(void)sd_event_source_set_time_relative(source, r->config.heartbeat_ns / SONDE_NS_PER_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int sonde_registrar_new(const struct sonde_registrar_config *config, struct sonde_registrar **ret)
{
	_cleanup_(sonde_registrar_freep) struct sonde_registrar *r = NULL;
	int e;

	assert(config && config->client && config->finder && config->on_ids && config->on_back &&
	       ret);

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->config = *config;
	e = sd_event_add_time_relative(config->event, &r->timer, CLOCK_MONOTONIC, 0, 0, on_beat, r);
	if (e < 0)
		return e;
	*ret = TAKE_PTR(r);
	return 0;
}

struct sonde_registrar *sonde_registrar_free(struct sonde_registrar *r)
{
	if (!r)
		return NULL;
	(void)sd_event_source_disable_unref(r->timer);
	free(r);
	return NULL;
}
