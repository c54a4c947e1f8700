/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/log.h"

#define PROBES_MAX 256
#define MIB (1024UL * 1024)
#define PLAN_NS (80 * SONDE_NS_PER_S) /* an emulated machine verifies slowly */
#define WAIT_NS (90 * SONDE_NS_PER_S)

struct doctor {
	struct sonde_probe_client *probe;
	sd_event *event;
	bool plan; /* ask for it */
	bool has_hello;
	struct sonde_probe_hello hello;
	struct sonde_probe_probe probes[PROBES_MAX];
	size_t n;
	char refused[SONDE_PROBE_TEXT_MAX + 64]; /* why there is no plan */
	uint64_t map_bytes, map_bytes_full;
	int error;
};

static void on_record(void *ctx, const struct sonde_probe_reply *reply)
{
	struct doctor *d = ctx;

	if (reply->type == SONDE_PROBE_PROBE && d->n < PROBES_MAX)
		d->probes[d->n++] = reply->probe;
}

static void on_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct doctor *d = ctx;

	if (error == -ECANCELED)
		return;
	if (error == 0 && end) {
		d->map_bytes = end->numbers[0];
		d->map_bytes_full = end->numbers[1];
	}
	/* A kernel that lacks a core hook is an answer, not a failure to ask. */
	if (error < 0 && error != -EPIPE)
		(void)snprintf(d->refused, sizeof(d->refused), "%s",
			       end && end->text[0] ? end->text : strerror(-error));
	else
		d->error = error;
	(void)sd_event_exit(d->event, 0);
}

static void on_hello(void *ctx, const struct sonde_probe_hello *hello)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_PLAN};
	struct doctor *d = ctx;

	d->has_hello = true;
	d->hello = *hello;
	d->error = 0;
	if (d->plan)
		d->error = sonde_probe_client_request(
			d->probe, &q, PLAN_NS, (struct sonde_probe_call){on_record, on_end, d});
	if (!d->plan || d->error < 0)
		(void)sd_event_exit(d->event, 0);
}

static void on_gone(void *ctx, const char *words)
{
	struct doctor *d = ctx;

	(void)sonde_log_full(SONDE_LOG_ERROR, 0, "%s", words);
	d->error = -EPIPE;
	(void)sd_event_exit(d->event, 0);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct doctor *d = userdata;

	d->error = sonde_log_err(-ETIMEDOUT, "sonde-probe does not answer");
	return sd_event_exit(d->event, 0);
}

static void event_unrefp(sd_event **e)
{
	(void)sd_event_unref(*e);
}

/* Return: 0 = d is filled in, else -errno, logged. */
static int consult(struct doctor *d)
{
	const struct sonde_probe_client_handlers handlers = {
		.on_hello = on_hello, .on_gone = on_gone, .ctx = d};
	_cleanup_(event_unrefp) sd_event *event = NULL;
	int r;

	r = sd_event_new(&event);
	if (r < 0)
		return sonde_log_err(r, "cannot make an event loop");
	d->event = event;
	d->error = -ETIMEDOUT;
	r = sonde_probe_client_attach(d->probe, event, handlers);
	if (r == 0)
		r = sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC,
					       WAIT_NS / SONDE_NS_PER_US, 0, on_timeout, d);
	if (r >= 0)
		r = sd_event_loop(event);
	if (r < 0)
		return sonde_log_err(r, "cannot run the event loop");
	return d->error;
}

/* Each core probe is there. Where the probe could not even make a plan, it said so instead. */
static bool core_is_measured(const struct doctor *d)
{
	for (size_t i = 0; i < d->n; i++) {
		if (d->probes[i].core && d->probes[i].state == SONDE_PROBE_ABSENT)
			return false;
	}
	return d->n > 0 && !d->refused[0];
}

static json_t *bpf_json(const struct doctor *d)
{
	json_t *bpf = json_object();

	(void)json_object_set_new(bpf, "allowed", json_boolean(d->hello.bpf_error == 0));
	(void)json_object_set_new(
		bpf, "error",
		d->hello.bpf_error ? json_string(strerror((int)d->hello.bpf_error)) : json_null());
	(void)json_object_set_new(
		bpf, "missing", d->hello.missing[0] ? json_string(d->hello.missing) : json_null());
	return bpf;
}

static void print_json(json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	(void)fputc('\n', stdout);
	json_decref(o);
}

/* As GET /api/v1/agents/{id}/doctor of the server has it. */
static json_t *probe_json(const struct sonde_probe_probe *p)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:I, s:I, s:s}", "metrics",
			 p->metrics, "probe", p->name, "state",
			 sonde_probe_plan_state_name(p->state), "core", (int)(p->core != 0),
			 "reason", p->reason, "less", p->less, "per", p->per, "target_ns",
			 (json_int_t)p->target_ns, "other_ns", (json_int_t)p->other_ns,
			 "capability", p->capability);
}

static void print_plan_json(const struct doctor *d, bool ok)
{
	json_t *root = json_object(), *list = json_array();

	(void)json_object_set_new(root, "ok", json_boolean(ok));
	(void)json_object_set_new(root, "bpf", bpf_json(d));
	(void)json_object_set_new(root, "refused",
				  d->refused[0] ? json_string(d->refused) : json_null());
	for (size_t i = 0; i < d->n; i++)
		(void)json_array_append_new(list, probe_json(&d->probes[i]));
	(void)json_object_set_new(root, "probes", list);
	(void)json_object_set_new(root, "map_bytes", json_integer((json_int_t)d->map_bytes));
	(void)json_object_set_new(root, "map_bytes_full",
				  json_integer((json_int_t)d->map_bytes_full));
	print_json(root);
}

static void print_bpf(const struct doctor *d)
{
	if (d->hello.bpf_error)
		(void)printf("bpf        refused, missing: %s\n", d->hello.missing);
	else
		(void)printf("bpf        may be used\n");
}

/* The plan is made of what the kernel has; without leave to use BPF nothing of it is to be had. */
static void refuse_all(struct doctor *d)
{
	for (size_t i = 0; i < d->n; i++) {
		d->probes[i].state = SONDE_PROBE_ABSENT;
		(void)snprintf(d->probes[i].reason, sizeof(d->probes[i].reason),
			       "BPF is refused: %s (%.64s)", strerror((int)d->hello.bpf_error),
			       d->hello.missing);
	}
}

static int wider(int width, const char *text)
{
	int n = (int)strlen(text);

	return n > width ? n : width;
}

static void print_ns(uint32_t ns)
{
	char text[16] = "-";

	if (ns >= 1000)
		(void)snprintf(text, sizeof(text), "%.2fus", (double)ns / 1000);
	else if (ns)
		(void)snprintf(text, sizeof(text), "%uns", ns);
	(void)printf("  %7s", text);
}

/* One behind the last alternative of the metric that is at @first. */
static size_t group_end(const struct doctor *d, size_t first)
{
	size_t end = first + 1;

	while (end < d->n && strcmp(d->probes[end].metrics, d->probes[first].metrics) == 0)
		end++;
	return end;
}

/* NULL: nothing measures it. */
static const struct sonde_probe_probe *chosen(const struct doctor *d, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		if (d->probes[i].state == SONDE_PROBE_ATTACHED)
			return &d->probes[i];
	}
	return NULL;
}

/* Why no better one measures it, and what is lost by that. */
static void print_why(const struct doctor *d, size_t first, size_t end,
		      const struct sonde_probe_probe *best)
{
	const char *joint = "";

	if (best && best->reason[0]) {
		(void)printf("%s", best->reason);
		joint = "; ";
	}
	for (size_t i = first; i < end; i++) {
		const struct sonde_probe_probe *p = &d->probes[i];

		if (p == best || p->state == SONDE_PROBE_SPARE || !p->reason[0])
			continue;
		(void)printf("%s%s: %s", joint, p->name, p->reason);
		joint = "; ";
	}
	if (best && best->less[0]) {
		(void)printf("%swithout %s", joint, best->less);
		joint = "; ";
	}
	(void)printf("%s\n", *joint ? "" : "-");
}

/* Column by column as `sonde doctor` has it. */
static void print_probes(const struct doctor *d)
{
	int metrics = wider(0, "METRIC"), name = wider(0, "replaced"), per = wider(0, "PER");

	for (size_t i = 0; i < d->n; i++) {
		metrics = wider(metrics, d->probes[i].metrics);
		if (d->probes[i].state != SONDE_PROBE_ATTACHED)
			continue;
		name = wider(name, d->probes[i].name);
		per = wider(per, d->probes[i].per);
	}
	(void)printf("\nProbes\n%-*s  %-*s  %7s  %7s  %-*s  %s\n", metrics, "METRIC", name, "PROBE",
		     "COST", "OTHERS", per, "PER", "WHY");
	for (size_t i = 0, end; i < d->n; i = end) {
		const struct sonde_probe_probe *best;

		end = group_end(d, i);
		best = chosen(d, i, end);
		/* What others' programs do besides costs nothing more. */
		if (!best && d->probes[i].state == SONDE_PROBE_SPARE)
			continue;
		(void)printf("%-*s  %-*s", metrics, d->probes[i].metrics, name,
			     best ? best->name : sonde_probe_plan_state_name(d->probes[i].state));
		print_ns(best ? best->target_ns : 0);
		print_ns(best ? best->other_ns : 0);
		(void)printf("  %-*s  ", per, best ? best->per : "-");
		print_why(d, i, end, best);
	}
}

static void print_verdict(const struct doctor *d, bool ok)
{
	(void)printf("\nverdict    ");
	if (ok) {
		(void)printf("every core metric has a probe\n");
		return;
	}
	if (d->refused[0]) {
		(void)printf("%s\n", d->refused);
		return;
	}
	for (size_t i = 0; i < d->n; i++) {
		const struct sonde_probe_probe *p = &d->probes[i];

		if (!p->core || p->state != SONDE_PROBE_ABSENT)
			continue;
		(void)printf("no probe for %s: %s; tasks are refused\n", p->metrics, p->reason);
		return;
	}
	(void)printf("no probe at all; tasks are refused\n");
}

/* Down, as sonde has it. */
static double in_mib(uint64_t bytes)
{
	uint64_t tenths = bytes * 10 / MIB;

	return (double)tenths / 10;
}

static void print_plan(const struct doctor *d, bool ok)
{
	print_bpf(d);
	if (d->map_bytes)
		(void)printf(
			"maps       %.1f MiB of kernel memory, %.1f MiB when every table is full\n",
			in_mib(d->map_bytes), in_mib(d->map_bytes_full));
	if (d->n > 0)
		print_probes(d);
	print_verdict(d, ok);
}

int sonde_doctor_run(struct sonde_probe_client *probe, bool json)
{
	_cleanup_free_ struct doctor *d = NULL;
	bool ok;

	assert(probe);

	d = calloc(1, sizeof(*d));
	if (!d)
		return 1;
	d->probe = probe;
	d->plan = true;
	if (consult(d) < 0)
		return 1;
	if (d->hello.bpf_error)
		refuse_all(d);
	ok = d->hello.bpf_error == 0 && core_is_measured(d);
	if (json)
		print_plan_json(d, ok);
	else
		print_plan(d, ok);
	return ok ? 0 : SONDE_DOCTOR_EXIT_REFUSED;
}

int sonde_doctor_check_bpf(struct sonde_probe_client *probe, bool json)
{
	_cleanup_free_ struct doctor *d = NULL;

	assert(probe);

	d = calloc(1, sizeof(*d));
	if (!d)
		return 1;
	d->probe = probe;
	if (consult(d) < 0)
		return 1;
	if (json)
		print_json(bpf_json(d));
	else
		print_bpf(d);
	return d->hello.bpf_error ? SONDE_DOCTOR_EXIT_REFUSED : 0;
}
