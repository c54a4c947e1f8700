/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spec.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "model/preset.h"
#include "model/probe-msg.h"
#include "model/signal.h"

static void json_unrefp(json_t **j)
{
	json_decref(*j);
}

void sonde_spec_done(struct sonde_spec *s)
{
	if (!s)
		return;
	free(s->targets);
	sonde_sampling_done(&s->sampling);
	s->targets = NULL;
	s->n_targets = 0;
}

static int invalid(char words[SONDE_SPEC_WORDS_MAX], const char *fmt, ...) _printf_(2, 3);
static int invalid(char words[SONDE_SPEC_WORDS_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, SONDE_SPEC_WORDS_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* proto3 JSON: lowerCamel or the proto's own name; null is the same as absent. */
static json_t *member(const json_t *o, const char *camel, const char *snake)
{
	json_t *v = json_object_get(o, camel);

	if (!v)
		v = json_object_get(o, snake);
	return json_is_null(v) ? NULL : v;
}

static int get_string(const json_t *o, const char *camel, const char *snake, char *dst, size_t size,
		      char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *v = member(o, camel, snake);
	const char *s;

	if (!v)
		return 0;
	s = json_string_value(v);
	if (!s)
		return invalid(words, "%s: a string was expected", camel);
	/* jansson refuses a NUL inside a string */
	if (strlen(s) >= size)
		return invalid(words, "%s: longer than %zu bytes", camel, size - 1);
	(void)snprintf(dst, size, "%s", s);
	return 0;
}

/* int64 may stand as a number or, as protobuf writes it, as a string. */
static int get_int(const json_t *o, const char *camel, const char *snake, int64_t min, int64_t max,
		   int64_t *ret, char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *v = member(o, camel, snake);
	int64_t n;

	if (!v)
		return 0;
	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (!json_is_string(v) ||
		 sonde_parse_i64(json_string_value(v), INT64_MIN, INT64_MAX, &n) < 0)
		return invalid(words, "%s: a whole number was expected", camel);
	if (n < min || n > max)
		return invalid(words, "%s: %lld is not within %lld to %lld", camel, (long long)n,
			       (long long)min, (long long)max);
	*ret = n;
	return 0;
}

static int parse_target(const json_t *o, size_t i, struct sonde_spec_target *ret,
			char words[SONDE_SPEC_WORDS_MAX])
{
	static const struct {
		const char *camel, *snake;
		enum sonde_spec_target_kind kind;
	} texts[] = {
		{"processId", "process_id", SONDE_SPEC_TARGET_PROCESS_ID},
		{"processName", "process_name", SONDE_SPEC_TARGET_PROCESS_NAME},
		{"service", "service", SONDE_SPEC_TARGET_SERVICE},
	};
	struct sonde_spec_target t = {0};
	int64_t pid = 0;
	size_t given = 0;
	int r;

	if (!json_is_object(o))
		return invalid(words, "targets[%zu]: an object was expected", i);
	r = get_string(o, "agentId", "agent_id", t.agent_id, sizeof(t.agent_id), words);
	if (r == 0)
		r = get_int(o, "pid", "pid", 0, INT32_MAX, &pid, words);
	if (r < 0)
		return r;
	if (pid) {
		t.kind = SONDE_SPEC_TARGET_PID;
		t.pid = (uint32_t)pid;
		given++;
	}
	for (size_t k = 0; k < ELEMENTS_OF(texts); k++) {
		char text[SONDE_SPEC_TARGET_TEXT_MAX] = "";

		r = get_string(o, texts[k].camel, texts[k].snake, text, sizeof(text), words);
		if (r < 0)
			return r;
		if (!text[0])
			continue;
		t.kind = texts[k].kind;
		memcpy(t.text, text, sizeof(text));
		given++;
	}
	if (given != 1)
		return invalid(words,
			       "targets[%zu]: exactly one of processId, pid, processName and "
			       "service is needed",
			       i);
	*ret = t;
	return 0;
}

static int parse_targets(const json_t *o, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *list = member(o, "targets", "targets");
	size_t n = json_array_size(list);

	if (n == 0)
		return invalid(words, "targets: at least one is needed");
	if (n > SONDE_TASK_TARGETS_MAX)
		return invalid(words, "targets: %zu are more than %d", n, SONDE_TASK_TARGETS_MAX);
	s->targets = calloc(n, sizeof(s->targets[0]));
	if (!s->targets)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int r = parse_target(json_array_get(list, i), i, &s->targets[i], words);

		if (r < 0)
			return r;
		s->n_targets++;
	}
	return 0;
}

static uint32_t collector_bit(const char *name)
{
	if (strcmp(name, "tcp") == 0)
		return SONDE_PROBE_COLLECT_TCP;
	return strcmp(name, "udp") == 0 ? SONDE_PROBE_COLLECT_UDP : 0;
}

/* What a task leaves open is as its preset says; one that is not known here, of a newer server, says nothing. */
static const struct sonde_preset *preset_of(const struct sonde_spec *s)
{
	const struct sonde_preset *p = sonde_preset_find(s->preset);

	return p ? p : sonde_preset_find(SONDE_PRESET_DEFAULT);
}

static int parse_collectors(const json_t *o, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *list = member(o, "collectors", "collectors");

	if (list && !json_is_array(list))
		return invalid(words, "collectors: a list was expected");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));

		uint32_t bit = name ? collector_bit(name) : 0;

		if (!bit)
			return invalid(words,
				       "collectors: '%.40s' is not known, 'tcp' and 'udp' are",
				       name ? name : "(no string)");
		s->collectors |= bit;
	}
	if (!s->collectors)
		s->collectors = preset_of(s)->collectors;
	return 0;
}

static int parse_signals(const json_t *options, struct sonde_spec *s,
			 char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *list = member(options, "signals", "signals");
	char why[SONDE_SIGNALS_WORDS_MAX];

	if (list && !json_is_array(list))
		return invalid(words, "options.signals: a list was expected");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		enum sonde_signal signal;

		/* Of a newer server: what is not known here cannot be left out or let in. */
		if (!name || sonde_signal_from_name(name, &signal) < 0)
			return invalid(words, "options.signals: '%.40s' is not known to this agent",
				       name ? name : "(no string)");
		s->signals |= SONDE_SIGNAL_BIT(signal);
	}
	if (!s->signals)
		s->signals = preset_of(s)->signals & sonde_signals_of(s->collectors);
	if (sonde_signals_check(s->signals, s->collectors, s->execution_time, why) < 0)
		return invalid(words, "options.signals: %.120s", why);
	return 0;
}

static int parse_limits(const json_t *o, struct sonde_task_limits *l,
			char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *v = member(o, "stopAtMaxPeers", "stop_at_max_peers");
	int64_t peers = 0, cpu = 0, memory = 0, events = 0;
	int r;

	if (v && !json_is_boolean(v))
		return invalid(words, "limits.stopAtMaxPeers: true or false was expected");
	r = get_int(o, "maxPeers", "max_peers", 0, INT32_MAX, &peers, words);
	if (r == 0)
		r = get_int(o, "maxCpuPercent", "max_cpu_percent", 0, SONDE_TASK_CPU_PERCENT_MAX,
			    &cpu, words);
	if (r == 0)
		r = get_int(o, "maxMemoryBytes", "max_memory_bytes", 0, INT64_MAX, &memory, words);
	if (r == 0)
		r = get_int(o, "maxEventsPerSecond", "max_events_per_second", 0, INT64_MAX, &events,
			    words);
	*l = (struct sonde_task_limits){
		.max_peers = (uint32_t)peers,
		.stop_at_max_peers = json_is_true(v),
		.max_cpu_percent = (uint32_t)cpu,
		.max_memory_bytes = (uint64_t)memory,
		.max_events_per_second = (uint64_t)events,
	};
	return r;
}

static int parse_options(const json_t *o, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	const json_t *options = member(o, "options", "options");
	const json_t *limits = member(o, "limits", "limits");
	const json_t *v = member(options, "executionTime", "execution_time");
	const json_t *flows = member(options, "withoutFlows", "without_flows");

	if ((options && !json_is_object(options)) || (limits && !json_is_object(limits)))
		return invalid(words, "options, limits: an object was expected");
	if (v && !json_is_boolean(v))
		return invalid(words, "options.executionTime: true or false was expected");
	if (flows && !json_is_boolean(flows))
		return invalid(words, "options.withoutFlows: true or false was expected");
	s->without_flows = flows ? json_is_true(flows) : preset_of(s)->without_flows;
	s->execution_time = v ? json_is_true(v) : preset_of(s)->execution_time;
	if (parse_signals(options, s, words) < 0)
		return -EINVAL;
	return parse_limits(limits, &s->limits, words);
}

static int parse_spec(const json_t *o, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	int r;

	r = get_string(o, "id", "id", s->id, sizeof(s->id), words);
	if (r == 0)
		r = get_string(o, "name", "name", s->name, sizeof(s->name), words);
	if (r == 0)
		r = get_string(o, "preset", "preset", s->preset, sizeof(s->preset), words);
	if (r == 0)
		r = get_int(o, "startWallMs", "start_wall_ms", 0, INT64_MAX / 2, &s->start_wall_ms,
			    words);
	if (r == 0)
		r = get_int(o, "durationMs", "duration_ms", SONDE_TASK_DURATION_MIN_MS,
			    SONDE_TASK_DURATION_MAX_MS, &s->duration_ms, words);
	if (r == 0)
		r = get_int(o, "reportIntervalMs", "report_interval_ms", 0,
			    SONDE_SPEC_REPORT_INTERVAL_MAX_MS, &s->report_interval_ms, words);
	if (r == 0)
		r = parse_collectors(o, s, words);
	if (r == 0)
		r = parse_options(o, s, words);
	if (r == 0)
		r = parse_targets(o, s, words);
	if (r < 0)
		return r;
	if (!s->duration_ms)
		return invalid(words, "durationMs: is needed");
	if (!s->report_interval_ms)
		s->report_interval_ms = SONDE_TASK_REPORT_INTERVAL_DEFAULT_MS;
	if (s->report_interval_ms < SONDE_SPEC_REPORT_INTERVAL_MIN_MS)
		return invalid(words, "reportIntervalMs: at least %d",
			       SONDE_SPEC_REPORT_INTERVAL_MIN_MS);
	return 0;
}

int sonde_spec_parse_json(const char *text, size_t n, struct sonde_spec *ret,
			  char words[SONDE_SPEC_WORDS_MAX])
{
	_cleanup_(json_unrefp) json_t *root = NULL;
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	const json_t *o;
	json_error_t e;
	int r;

	assert(text && ret && words);

	if (n == 0)
		return -ENOENT;
	if (n > SONDE_SPEC_JSON_MAX)
		return invalid(words, "ExtensionConfigJSON: longer than %lu bytes",
			       SONDE_SPEC_JSON_MAX);
	/* jansson bounds the depth (JSON_PARSER_MAX_DEPTH) and refuses a member that stands twice here. */
	root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (!root)
		return invalid(words, "ExtensionConfigJSON: %.100s at byte %d", e.text, e.position);
	if (json_is_null(root))
		return -ENOENT;
	if (!json_is_object(root))
		return invalid(words, "ExtensionConfigJSON: an object was expected");
	o = json_object_get(root, "Sonde");
	if (!o && !json_object_get(root, "targets"))
		return -ENOENT;
	if (!o)
		o = root;
	if (!json_is_object(o))
		return invalid(words, "Sonde: an object was expected");
	r = parse_spec(o, &s, words);
	if (r < 0)
		return r;
	*ret = s;
	s = (struct sonde_spec){0};
	return 0;
}

static const char *argument(const Skywalking__V3__Command *c, const char *key)
{
	for (size_t i = 0; i < c->n_args; i++) {
		if (c->args[i] && c->args[i]->key && strcmp(c->args[i]->key, key) == 0)
			return c->args[i]->value ? c->args[i]->value : "";
	}
	return "";
}

static bool has_id(const struct sonde_spec *s, const char *id, size_t len)
{
	for (size_t i = 0; i < s->n_targets; i++) {
		if (strlen(s->targets[i].text) == len && memcmp(s->targets[i].text, id, len) == 0)
			return true;
	}
	return false;
}

static void shrink(struct sonde_spec *s)
{
	struct sonde_spec_target *p = reallocarray(s->targets, s->n_targets, sizeof(s->targets[0]));

	if (p)
		s->targets = p;
}

/* "id,id,…": each becomes a target, known or not; an OAP may name one twice. */
static int split_ids(const char *list, struct sonde_spec *s, char words[SONDE_SPEC_WORDS_MAX])
{
	size_t left_out = 0;

	s->targets = calloc(SONDE_TASK_TARGETS_MAX, sizeof(s->targets[0]));
	if (!s->targets)
		return -ENOMEM;
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ",");

		if (len >= sizeof(s->targets[0].text)) {
			return invalid(words, "ProcessId: an id is longer than %zu bytes",
				       sizeof(s->targets[0].text) - 1);
		} else if (len && !has_id(s, p, len)) {
			if (s->n_targets < SONDE_TASK_TARGETS_MAX)
				memcpy(s->targets[s->n_targets++].text, p, len);
			else
				left_out++;
		}
		p += len + (p[len] == ',');
	}
	if (s->n_targets == 0)
		return invalid(words, "ProcessId: at least one is needed");
	shrink(s);
	if (left_out)
		(void)snprintf(s->remark, sizeof(s->remark), "%zu processes beyond %d are left out",
			       left_out, SONDE_TASK_TARGETS_MAX);
	return 0;
}

static int parse_sampling(const char *json, struct sonde_spec *s)
{
	char why[SONDE_SAMPLING_WORDS_MAX];
	int r = sonde_sampling_parse(json, strlen(json), &s->sampling, why);

	if (r > 0 && !s->remark[0])
		(void)snprintf(s->remark, sizeof(s->remark), "%d sampling rule%s left out: %.100s",
			       r, r == 1 ? " is" : "s are", why);
	return r < 0 ? r : 0;
}

/* Seconds; OAP extends a network task by ten minutes again and again. What is allowed here is the policy's to say. */
#define COMMAND_SECONDS_MAX (7 * 24 * 3600)

static int parse_times(const Skywalking__V3__Command *c, struct sonde_spec *s,
		       char words[SONDE_SPEC_WORDS_MAX])
{
	int64_t seconds;

	if (sonde_parse_i64(argument(c, "TaskStartTime"), 0, INT64_MAX / 2, &s->start_wall_ms) < 0)
		return invalid(words, "TaskStartTime: a number of milliseconds was expected");
	if (sonde_parse_i64(argument(c, "FixedTriggerDuration"), 1, COMMAND_SECONDS_MAX, &seconds) <
	    0)
		return invalid(words, "FixedTriggerDuration: 1 to %d seconds were expected",
			       COMMAND_SECONDS_MAX);
	s->duration_ms = seconds * 1000;
	return 0;
}

/* A kind of task that this agent does not run, in words. */
static int unsupported(const Skywalking__V3__Command *c, char words[SONDE_SPEC_WORDS_MAX])
{
	const char *target = argument(c, "TargetType"), *trigger = argument(c, "TriggerType");

	if (strcmp(target, "NETWORK") != 0)
		(void)invalid(words,
			      "TargetType '%.40s' is not done by this agent, only NETWORK is",
			      target);
	else if (strcmp(trigger, "FIXED_TIME") != 0)
		(void)invalid(words, "TriggerType '%.40s' is not known, only FIXED_TIME is",
			      trigger);
	else
		return 0;
	return -EOPNOTSUPP;
}

/* A command without our member: what the replaced agent did for it. */
static int from_plain(const Skywalking__V3__Command *c, struct sonde_spec *s,
		      char words[SONDE_SPEC_WORDS_MAX])
{
	int r = unsupported(c, words);

	if (r < 0)
		return r;
	s->plain = true;
	(void)snprintf(s->preset, sizeof(s->preset), "network-calls");
	s->execution_time = true;
	s->collectors = SONDE_PROBE_COLLECT_TCP;
	s->report_interval_ms = SONDE_TASK_REPORT_INTERVAL_DEFAULT_MS;
	r = parse_times(c, s, words);
	if (r == 0)
		r = split_ids(argument(c, "ProcessId"), s, words);
	return r < 0 ? r : parse_sampling(argument(c, "ExtensionConfigJSON"), s);
}

/* It goes into ids of reports, which are metadata of gRPC, and into log lines. */
static bool is_id(const char *id, size_t size)
{
	size_t n = 0;

	for (; id[n]; n++) {
		if (id[n] <= ' ' || id[n] > '~')
			return false;
	}
	return n > 0 && n < size;
}

int sonde_spec_from_command(const Skywalking__V3__Command *c, struct sonde_spec *ret,
			    char words[SONDE_SPEC_WORDS_MAX])
{
	_cleanup_(sonde_spec_done) struct sonde_spec s = {0};
	const char *id, *json;
	int64_t update_ms = 0;
	int r;

	assert(c && ret && words);

	*ret = (struct sonde_spec){0};
	words[0] = '\0';
	if (!c->command || strcmp(c->command, "EBPFProfilingTaskQuery") != 0)
		return -EOPNOTSUPP;
	id = argument(c, "TaskId");
	if (sonde_parse_i64(argument(c, "TaskUpdateTime"), 0, INT64_MAX, &update_ms) < 0)
		update_ms = 0; /* asked again at each poll then, and known by its id */
	ret->update_ms = update_ms;
	if (!is_id(id, sizeof(ret->id)))
		return invalid(words, "TaskId: 1 to %zu printable bytes of ASCII were expected",
			       sizeof(ret->id) - 1);
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);

	json = argument(c, "ExtensionConfigJSON");
	r = sonde_spec_parse_json(json, strlen(json), &s, words);
	if (r == -ENOENT)
		r = from_plain(c, &s, words);
	if (r < 0)
		return r;
	/* The command names the task, whatever the spec says. */
	(void)snprintf(s.id, sizeof(s.id), "%s", id);
	s.update_ms = update_ms;
	*ret = s;
	s = (struct sonde_spec){0};
	return 0;
}
